package config

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// protocols are the IANA protocol numbers that have a name here.
var protocols = map[string]uint8{
	"icmp": traffic.ProtoICMP, "igmp": 2, "ipip": 4, "tcp": traffic.ProtoTCP, "egp": 8, "udp": traffic.ProtoUDP, "dccp": 33, "ipv6": 41,
	"gre": traffic.ProtoGRE, "esp": 50, "ah": 51, "icmpv6": traffic.ProtoICMPv6, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}

// flagBits are the TCP flags (RFC 9293 3.1).
var flagBits = map[string]uint8{
	"fin": traffic.FlagFIN, "syn": traffic.FlagSYN, "rst": traffic.FlagRST, "psh": traffic.FlagPSH,
	"ack": traffic.FlagACK, "urg": traffic.FlagURG, "ece": traffic.FlagECE, "cwr": traffic.FlagCWR,
}

var counterAttrs = []string{"protocol", "source_port", "destination_port", "tcp_flags", "fragment", "packet_length", "forwarding", "class"}

// readCounters reads the user-defined traffic classes.
func (l *loader) readCounters() {
	for _, blk := range l.blocks["counter"] {
		b := l.open(blk, "a counter", []string{"name"}, shape{attrs: counterAttrs})
		if !b.named {
			continue
		}
		if has(builtins, blk.Labels[0]) {
			l.errorf(blk.LabelRanges[0], "Reserved name", "counter.%s is built in: it is counted without being declared. Remove the block, or choose another name.", blk.Labels[0])
			continue
		}
		c := &Counter{Name: blk.Labels[0], Range: blk.DefRange()}
		c.Protocols = b.protocols("protocol")
		c.SourcePorts = b.ports("source_port")
		c.DestinationPorts = b.ports("destination_port")
		c.FlagsSet, c.FlagsClear = b.flags("tcp_flags")
		c.Fragment = b.boolean("fragment")
		c.Lengths = b.lengths("packet_length")
		c.Classes = b.classes("class")
		if s, ok := b.choice("forwarding", "forwarded", "dropped"); ok {
			dropped := s == "dropped"
			c.Dropped = &dropped
		}
		b.checkCounter(c)
		l.warnShipped(c)
		l.conf.Counters = append(l.conf.Counters, c)
		l.set("counter", c.Name, c)
	}
}

// checkCounter refuses counters that would count everything or nothing.
func (b body) checkCounter(c *Counter) {
	set := false
	for _, name := range counterAttrs {
		set = set || b.attr(name) != nil
	}
	if !set {
		b.l.errorf(c.Range, "Counter without a condition", "counter.%s says nothing about what it counts. Write at least one of %s; for all traffic there is counter.total.", c.Name, list(counterAttrs))
	}
	if c.FlagsSet|c.FlagsClear != 0 && len(c.Protocols) > 0 && !hasProtocol(c.Protocols, traffic.ProtoTCP) {
		b.l.errorf(b.attr("tcp_flags").Expr.Range(), "Counter that matches nothing", "Only TCP has flags, but protocol says otherwise. Write protocol = \"tcp\", or remove it.")
	}
	if len(c.SourcePorts)+len(c.DestinationPorts) > 0 && len(c.Protocols) > 0 &&
		!hasProtocol(c.Protocols, traffic.ProtoTCP, traffic.ProtoUDP, protocols["sctp"], protocols["udplite"], protocols["dccp"]) {
		b.l.errorf(b.attr("protocol").Expr.Range(), "Counter that matches nothing", "Packets of this protocol have no ports. Remove the ports, or choose tcp or udp.")
	}
}

func hasProtocol(in []uint8, any ...uint8) bool {
	for _, p := range in {
		for _, a := range any {
			if p == a {
				return true
			}
		}
	}
	return false
}

// protocols reads names and numbers of IP protocols. The name icmp stands for
// ICMP and ICMPv6; a number is that protocol only.
func (b body) protocols(name string) (out []uint8) {
	items, n := b.items(name)
	for _, i := range items {
		if v, ok := whole(i.Value, 0, math.MaxUint8); ok {
			out = append(out, uint8(v))
			continue
		}
		names := sortedKeys(protocols)
		if i.Type() != cty.String {
			b.l.errorf(i.at, "Unknown protocol", "%s is not a protocol: write a number from 0 to 255 or a name, such as \"udp\".", i.text())
			continue
		}
		p, ok := protocols[i.AsString()]
		if !ok {
			b.l.errorf(i.at, "Unknown protocol", "%s is not a protocol: write a number from 0 to 255, or one of %s.%s", i.text(), list(names), b.l.secretMeant(i, names))
			continue
		}
		out = append(out, p)
		if p == traffic.ProtoICMP {
			// A name means both families, as the built-in counter icmp does.
			out = append(out, traffic.ProtoICMPv6)
		}
	}
	b.notEmpty(name, n)
	return out
}

// flags reads TCP flags that must be set ("syn") or clear ("!ack").
func (b body) flags(name string) (set, clear uint8) {
	items, n := b.items(name)
	names := sortedKeys(flagBits)
	for _, i := range items {
		if i.Type() != cty.String {
			b.wrongType(i, name, `texts such as "syn" or "!ack"`)
			continue
		}
		flag, not := strings.CutPrefix(i.AsString(), "!")
		bit, ok := flagBits[flag]
		if !ok {
			b.l.errorf(i.at, "Unknown TCP flag", "%s is not a TCP flag: write one of %s, with ! before it if it must not be set.%s",
				i.text(), list(names), b.l.secretMeant(item{cty.StringVal(flag), i.at, i.secret}, names))
			continue
		}
		if not {
			clear |= bit
		} else {
			set |= bit
		}
		if set&clear != 0 {
			b.l.errorf(i.at, "Counter that matches nothing", "The flag %q cannot be set and not set at once. Remove one of the two.", flag)
			set &^= bit
		}
	}
	b.notEmpty(name, n)
	return set, clear
}

// classes reads numbers of user classes, which filters set.
func (b body) classes(name string) (out []uint8) {
	items, n := b.items(name)
	for _, i := range items {
		v, ok := whole(i.Value, 0, 63)
		if !ok {
			b.l.errorf(i.at, "Invalid class", "%s is not a class: filters set classes 0 to 63; write their numbers.", i.text())
			continue
		}
		out = append(out, uint8(v))
	}
	b.notEmpty(name, n)
	return out
}

// readExemptions reads what is kept out of the rates.
func (l *loader) readExemptions() {
	for _, blk := range l.blocks["exemption"] {
		conditions := []string{"local", "local_files", "remote", "protocol", "port"}
		b := l.open(blk, "an exemption", []string{"name"}, shape{attrs: append(conditions, "direction", "limit_bps", "until", "do_not_act")})
		if !b.named {
			continue
		}
		e := &Exemption{Name: blk.Labels[0], Range: blk.DefRange()}
		_, listed := b.prefixFiles("local_files")
		e.Local = unique(plainPrefixes(append(b.prefixes("local"), listed...)))
		e.Remote = plainPrefixes(b.prefixes("remote"))
		e.Protocols = b.protocols("protocol")
		e.Ports = b.ports("port")
		direction, _ := b.choice("direction", "incoming", "outgoing")
		e.Incoming, e.Outgoing = direction != "outgoing", direction != "incoming"
		e.LimitBPS, _ = b.rate("limit_bps")
		e.Until = b.until("until")
		if !e.Until.IsZero() && e.Until.Before(l.now()) {
			l.warnf(b.attr("until").Expr.Range(), "Exemption has ended", "exemption.%s is over and exempts nothing. Remove it, or give it a later end.", e.Name)
		}
		if own := b.boolean("do_not_act"); own != nil {
			e.DoNotAct = *own
		}
		b.checkDoNotAct(e)
		if b.attr("local_files") != nil && len(e.Local) == 0 {
			// No prefix would mean every host, not none.
			e.Local = []netip.Prefix{nowhere}
		}
		set := false
		for _, c := range conditions {
			set = set || b.attr(c) != nil
		}
		if !set && !e.DoNotAct {
			l.errorf(e.Range, "Exemption without a condition", "exemption.%s would keep all traffic out of the rates, so that no attack is seen. Write at least one of %s.", e.Name, list(conditions))
		}
		for _, name := range []string{"local", "remote"} {
			if _, n := b.items(name); n == 0 {
				b.notEmpty(name, n)
			}
		}
		l.conf.Exemptions = append(l.conf.Exemptions, e)
	}
}

// nowhere is a prefix of no traffic: the discard-only address block's last
// address (RFC 6666).
var nowhere = netip.MustParsePrefix("100::ffff:ffff:ffff:ffff/128")

// unique drops what stands in a list again.
func unique(list []netip.Prefix) []netip.Prefix {
	seen := map[netip.Prefix]bool{}
	return slices.DeleteFunc(list, func(p netip.Prefix) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
}

// checkDoNotAct refuses what an exemption that is only about acting cannot
// have: traffic is counted as any other there.
func (b body) checkDoNotAct(e *Exemption) {
	if !e.DoNotAct {
		return
	}
	for _, name := range []string{"remote", "protocol", "port", "direction", "limit_bps"} {
		if a := b.attr(name); a != nil {
			b.l.errorf(a.NameRange, "Condition without effect", "With do_not_act all traffic counts, and what is done about an attack depends on its target alone. Remove %q, or put it into an exemption without do_not_act.", name)
		}
	}
	if b.attr("local") == nil && b.attr("local_files") == nil {
		b.l.errorf(e.Range, "Exemption without a target", "exemption.%s does not say about whose attacks nothing is to be done. Write local = [...] or local_files = [...]; for all hosts there is daemon { mode = \"monitor\" }.", e.Name)
	}
}

// checkCounters adds the shipped counters that thresholds use, and counts all
// that are used: only those are counted.
func (l *loader) checkCounters() {
	used := map[string]*Threshold{}
	for _, g := range l.conf.Groups {
		for _, t := range g.Thresholds {
			if used[t.Counter] == nil {
				used[t.Counter] = t
			}
		}
	}
	for _, c := range shipped {
		if t := used[c.Name]; t != nil && l.decl["counter"].index[c.Name] == nil {
			own := *c
			own.Range = t.Range
			l.conf.Counters = append(l.conf.Counters, &own)
		}
	}
	n := 0
	for _, e := range l.conf.Exemptions {
		if e.LimitBPS > 0 {
			n++ // each is counted by itself
		}
	}
	for _, c := range l.conf.Counters {
		if used[c.Name] == nil {
			l.hint(c.Range, "Unused counter", "No threshold uses counter.%s, so it is not counted.", c.Name)
			continue
		}
		if n++; n == count.MaxCounters+1 {
			l.errorf(c.Range, "Too many counters", "Thresholds and exemptions with a limit use more than %d counters; counter.%s is one too many. Remove thresholds, or let counters match more each.", count.MaxCounters, c.Name)
		}
	}
}

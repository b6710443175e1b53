package exporter

import (
	"fmt"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// listen tells which sockets are open: without them the plugin would not run.
func (d *checkup) listen(conns []*udp.Conn) {
	if len(conns) == 0 {
		d.say("bound", StateFault, "no socket is open")
		return
	}
	at := map[string]bool{}
	var names []string
	for _, c := range conns {
		if a := c.LocalAddr().String(); !at[a] {
			at[a] = true
			names = append(names, a)
		}
	}
	d.say("bound", StateOK, "listening on %s", strings.Join(names, ", "))
}

// arrive tells whether datagrams come, and if not what may keep them.
func (d *checkup) arrive(s *Set, conns []*udp.Conn) {
	var datagrams uint64
	newest := int64(0)
	for _, e := range d.all {
		datagrams += e.datagrams.Load()
		newest = max(newest, e.seen.Load())
	}
	refused, full, latest := s.strangers.seen()
	for _, x := range latest {
		newest = max(newest, x.last)
	}
	all, silence := datagrams+refused+full, time.Duration(d.now-newest)
	for _, c := range conns {
		if n, ago := c.Received(); n > 0 { // what is no telemetry comes from no exporter
			all, silence = max(all, n), min(silence, ago)
		}
	}
	var silent string
	switch {
	case all == 0:
		silent = "no datagram has arrived"
	case silence > time.Duration(minute):
		silent = fmt.Sprintf("no datagram has arrived for %s", seconds(int64(silence)))
	default:
		d.say("datagrams", StateOK, "%d datagrams from %d exporters", all, len(d.all))
		return
	}
	port := uint16(0)
	if len(conns) > 0 {
		port = conns[0].LocalAddr().Port()
	}
	d.path(&s.path, pathNow(), strictInterfaces(), silent, port)
}

// enough is how many packets a firewall has dropped before it is suspected: a
// few of something else always get lost.
const enough = 10

// path tells what may keep datagrams from the sockets, where none comes. The
// reverse path filter and firewalls are at fault only for what they have
// dropped since the capture started.
func (d *checkup) path(before *path, now path, strict, silent string, port uint16) {
	state, when, dropped := StateFault, "since this capture started", now.reverse-before.reverse
	if dropped <= 0 {
		state, when, dropped = StateWarn, "since the start of this machine", now.reverse
	}
	if dropped > 0 {
		d.say("rp_filter", state, "the reverse path filter has dropped %d packets %s%s: exporters that this machine would answer by another interface are cut off; "+
			"route them back the way they come, or make it loose: sysctl -w net.ipv4.conf.all.rp_filter=2 (and of the interface)", dropped, when, strict)
	}
	if n := now.firewalled(before); n >= enough {
		d.say("firewall", StateFault, "%s, but %d packets have reached this machine since this capture started and were dropped before any socket, as a firewall does: "+
			"let the devices in to UDP port %d (see nft list ruleset, iptables -S)", silent, n, port)
	}
	elsewhere := ""
	if n := now.noPort - before.noPort; n >= enough {
		elsewhere = fmt.Sprintf("; %d datagrams have come to ports of this machine at which nobody listens: is it this port that the devices send to?", n)
	}
	d.say("datagrams", StateFault, "%s: let the devices export to this machine and port, and see whether they reach it: tcpdump -ni any udp port %d; "+
		"if tcpdump shows them, a firewall of this machine (nft list ruleset) or rp_filter drops them%s", silent, port, elsewhere)
}

// lost tells what the sockets lost.
func (d *checkup) lost(conns []*udp.Conn) {
	var lost, received uint64
	var last time.Duration
	advice := ""
	for _, c := range conns {
		n, ago := c.Lost()
		if lost += n; n > 0 && (last == 0 || ago < last) {
			last = ago
		}
		n, _ = c.Received()
		received += n
		if a := c.Advice(); a != "" {
			advice = a
		}
	}
	state := StateWarn
	switch {
	case last > recent:
		state = StateOK
	case lost > received/100:
		state = StateFault
	}
	switch {
	case lost > 0 && advice != "":
		d.say("receive buffer", state, "%d datagrams were lost because the receive buffer was full, the last %s ago, beside %d that were read; %s", lost, seconds(int64(last)), received, advice)
	case lost > 0:
		d.say("receive buffer", state, "%d datagrams were lost because the receive buffer was full, the last %s ago, beside %d that were read: raise receive_buffer or workers in the capture's block",
			lost, seconds(int64(last)), received)
	case advice != "": // nothing has come of it yet: not to be named before what is wrong
		d.say("buffer size", StateWarn, "%s", advice)
	}
}

// forwards tells what targets lose.
func forwards(f *udp.Forwarder) (rows [][]string) {
	for _, t := range f.Stats() {
		state, detail := StateOK, fmt.Sprintf("%s: %d datagrams have gone to %s", t.Name, t.Sent, t.Target)
		if t.Dropped+t.Failed > 0 {
			detail += fmt.Sprintf(", %d were dropped because it is too slow and %d could not be sent, the last %s ago", t.Dropped, t.Failed, seconds(int64(t.Ago)))
			if t.Ago <= recent {
				state = StateWarn
				detail += ": see whether somebody listens there, and the way to it"
			}
		}
		rows = append(rows, []string{"forward", state, detail})
	}
	return rows
}

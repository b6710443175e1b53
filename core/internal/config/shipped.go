package config

import (
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// shipped are the counters that thresholds may name without a counter block.
// Unlike the built-in ones they are counted only where a threshold uses them.
// core/README.md gives for each a limit worth starting from.
//
// A flow record carries the flags of all its packets together, so the
// conditions on TCP flags leave out what a whole connection would show: its
// record has SYN and FIN or RST at once, usually with PSH.
var shipped = append([]*Counter{
	tcpFlags("syn_ack", traffic.FlagSYN|traffic.FlagACK, traffic.FlagFIN|traffic.FlagRST|traffic.FlagPSH),
	tcpFlags("ack", traffic.FlagACK, traffic.FlagSYN|traffic.FlagFIN|traffic.FlagRST),
	tcpFlags("rst", traffic.FlagRST, traffic.FlagSYN),
	tcpFlags("fin", traffic.FlagFIN, traffic.FlagSYN|traffic.FlagRST|traffic.FlagPSH),
	noFlags("null"),
	tcpFlags("xmas", traffic.FlagFIN|traffic.FlagPSH|traffic.FlagURG, 0),
	{Name: "gre", Protocols: []uint8{traffic.ProtoGRE}},
}, reflections()...)

// aliases are other names of built-in counters.
var aliases = map[string]string{"syn": "tcp_syn"}

func tcpFlags(name string, set, clear uint8) *Counter {
	return &Counter{Name: name, FlagsSet: set, FlagsClear: clear}
}

// noFlags counts TCP without any of the six flags of RFC 9293. Fragments stay
// out: but for the first they have no TCP header, and so no flags to speak of.
func noFlags(name string) *Counter {
	whole := false
	c := tcpFlags(name, 0, traffic.FlagFIN|traffic.FlagSYN|traffic.FlagRST|traffic.FlagPSH|traffic.FlagACK|traffic.FlagURG)
	c.Fragment = &whole
	return c
}

// reflections count what reflectors send: UDP from the port of a service that
// answers a small question with much. The names are those that reports of
// attacks use.
func reflections() (out []*Counter) {
	for _, r := range []struct {
		service string
		port    uint16
	}{
		{"qotd", 17},           // Quote of the Day, RFC 865
		{"chargen", 19},        // Character Generator, RFC 864
		{"dns", 53},            // RFC 1035
		{"tftp", 69},           // RFC 1350
		{"portmap", 111},       // ONC RPC port mapper, rpcbind, RFC 1833
		{"ntp", 123},           // RFC 5905; monlist of old servers
		{"netbios", 137},       // NetBIOS name service, RFC 1002
		{"snmp", 161},          // RFC 3416, GetBulk
		{"cldap", 389},         // connectionless LDAP, RFC 1798
		{"slp", 427},           // Service Location Protocol, RFC 2608
		{"isakmp", 500},        // IKE, RFC 7296
		{"rip", 520},           // RIPv1, RFC 1058
		{"ssdp", 1900},         // UPnP discovery
		{"ard", 3283},          // Apple Remote Desktop, ARMS
		{"rdp", 3389},          // Remote Desktop over UDP
		{"ws_discovery", 3702}, // WS-Discovery
		{"mdns", 5353},         // RFC 6762
		{"coap", 5683},         // RFC 7252
		{"ubiquiti", 10001},    // Ubiquiti discovery
		{"memcached", 11211},   // memcached over UDP
		{"dvr", 37810},         // DHCPDiscover of digital video recorders
	} {
		out = append(out, &Counter{
			Name: r.service + "_reflection", Protocols: []uint8{traffic.ProtoUDP}, SourcePorts: [][2]uint16{{r.port, r.port}},
		})
	}
	return out
}

// shippedCounter is the shipped counter of that name, or nil.
func shippedCounter(name string) *Counter {
	for _, c := range shipped {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// predeclared lists the counters that can be named without being declared.
func predeclared() []string {
	names := append(append([]string(nil), builtins...), sortedKeys(aliases)...)
	for _, c := range shipped {
		names = append(names, c.Name)
	}
	return names
}

// counterName is the counter that a reference means.
func (l *loader) counterName(name string) string {
	if l.decl["counter"].index[name] != nil {
		return name
	}
	return either(aliases[name], name)
}

// warnShipped tells that a counter block hides a shipped counter, unless both
// count the same.
func (l *loader) warnShipped(c *Counter) {
	also := shippedCounter(c.Name)
	switch {
	case also == nil && aliases[c.Name] == "", also != nil && sameTraffic(c, also):
		return
	}
	what := "a counter"
	if of := aliases[c.Name]; of != "" {
		what = "another name of counter." + of + ","
	}
	l.warnf(c.Range, "Shipped counter replaced", "counter.%s is %s that needs no declaration, and counts something else than this block. The block replaces it. Choose another name if that is not meant.", c.Name, what)
}

func sameTraffic(a, b *Counter) bool {
	same := func(x, y *bool) bool { return x == y || x != nil && y != nil && *x == *y }
	return slices.Equal(a.Protocols, b.Protocols) && slices.Equal(a.SourcePorts, b.SourcePorts) && slices.Equal(a.DestinationPorts, b.DestinationPorts) &&
		a.FlagsSet == b.FlagsSet && a.FlagsClear == b.FlagsClear && same(a.Fragment, b.Fragment) && same(a.Dropped, b.Dropped) &&
		slices.Equal(a.Lengths, b.Lengths) && slices.Equal(a.Classes, b.Classes)
}

package evidence

import "github.com/fastnetmon-go/fastnetmon/sdk/traffic"

// vector is one way to attack, told by what each packet of it has in common:
// the rules of labels are these rows, in order, the first that fits a packet
// decides.
type vector struct {
	label    string
	what     string // for reasons: "UDP from port 53"
	protocol []uint8
	set      uint8    // TCP flags that must be set
	clear    uint8    // and must not be
	services []uint16 // source ports, of a service that answers: a reflection
	least    uint64   // of a reflection: mean IP length from which it amplifies, octets
	small    uint64   // mean IP length above which it is ordinary traffic, as beside TCP data; 0: it never is
	answers  string   // counter of what the target sends where it asked for the packets itself; see asked
	usual    *pattern // payload of ordinary answers: such a packet belongs to no attack
}

// pattern looks at one octet of a UDP payload.
type pattern struct {
	at          int
	mask, value byte
	not         bool // it fits where the octet is another one
}

const (
	fin, syn, rst, psh, ack, urg = traffic.FlagFIN, traffic.FlagSYN, traffic.FlagRST, traffic.FlagPSH, traffic.FlagACK, traffic.FlagURG
	six                          = fin | syn | rst | psh | ack | urg
)

var (
	tcpOnly  = []uint8{traffic.ProtoTCP}
	udpOnly  = []uint8{traffic.ProtoUDP}
	icmpOnly = []uint8{traffic.ProtoICMP, traffic.ProtoICMPv6}
)

// Labels that no single packet tells.
const (
	labelFragments = "fragmentation"
	labelCarpet    = "carpet"
	labelMixed     = "mixed"
	labelUnknown   = "unknown"
	labelUDP       = "udp_flood"
)

// vectors are the rules. Names of reflections are those of the shipped
// counters. What the target gets from a service's port is a reflection unless it
// has asked for it; where its questions are not seen, answers of DNS, NTP and
// SSDP that are as short as usual are none either: those three are what hosts
// ask all the time.
var vectors = []vector{
	{label: "xmas_flood", what: "TCP with FIN, PSH and URG", protocol: tcpOnly, set: fin | psh | urg},
	{label: "syn_flood", what: "TCP SYN", protocol: tcpOnly, set: syn, clear: ack | fin | rst},
	{label: "syn_ack_reflection", what: "TCP SYN and ACK", protocol: tcpOnly, set: syn | ack, clear: fin | rst | psh, answers: "tcp_syn"},
	{label: "rst_flood", what: "TCP RST", protocol: tcpOnly, set: rst, clear: syn},
	{label: "fin_flood", what: "TCP FIN", protocol: tcpOnly, set: fin, clear: syn | rst | psh | ack},
	{label: "ack_flood", what: "TCP ACK", protocol: tcpOnly, set: ack, clear: syn | fin | rst, small: 400},
	{label: "null_flood", what: "TCP without flags", protocol: tcpOnly, clear: six},
	reflection("qotd", 17),
	reflection("chargen", 19),
	usually(reflection("dns", 53), 300, nil),
	reflection("tftp", 69),
	reflection("portmap", 111),
	usually(reflection("ntp", 123), 90, &pattern{at: 0, mask: 7, value: 4}), // mode 4 answers a client; monlist is mode 7
	reflection("netbios", 137),
	reflection("snmp", 161),
	reflection("cldap", 389),
	reflection("slp", 427),
	reflection("isakmp", 500),
	usually(reflection("isakmp", 4500), 0, &pattern{at: 0, mask: 0xff, not: true}), // IKE begins with four zeros there, ESP does not (RFC 3948)
	reflection("rip", 520),
	usually(reflection("ssdp", 1900), 120, nil),
	reflection("ard", 3283),
	reflection("rdp", 3389),
	reflection("ws_discovery", 3702),
	reflection("mdns", 5353),
	reflection("coap", 5683),
	reflection("ubiquiti", 10001),
	reflection("memcached", 11211),
	reflection("dvr", 37810),
	{label: labelUDP, what: "UDP", protocol: udpOnly},
	{label: "icmp_flood", what: "ICMP", protocol: icmpOnly},
	{label: "gre_flood", what: "GRE", protocol: []uint8{traffic.ProtoGRE}},
	{label: "tcp_flood", what: "other TCP", protocol: tcpOnly},
	{label: "ip_flood", what: "other protocols"},
}

func reflection(service string, port uint16) vector {
	return vector{
		label: service + "_reflection", what: "UDP from port " + itoa(port), protocol: udpOnly, services: []uint16{port}, answers: "udp",
	}
}

// usually adds how long a service's answers are at least where they amplify,
// and how its ordinary ones begin.
func usually(v vector, least uint64, usual *pattern) vector {
	v.least, v.usual = least, usual
	return v
}

// ordinary is what belongs to most hosts' usual traffic and to no attack that
// has a label: it is left out of shares, unless there is more of it than of all
// else.
var ordinary = []vector{
	{what: "TCP connections", protocol: tcpOnly, set: fin | ack, clear: 0},
	{what: "TCP data", protocol: tcpOnly, set: psh | ack, clear: syn | rst | urg},
	{what: "QUIC answers", protocol: udpOnly, services: []uint16{443}},
}

// counterLabels are what a built-in counter says where there are no packets to
// look at: the first that has most of the target's packets.
var counterLabels = []struct {
	counter    string
	label      string
	confidence float64
}{
	{"tcp_syn", "syn_flood", 0.7},
	{"icmp", "icmp_flood", 0.7},
	{"fragmented", labelFragments, 0.4}, // large answers come in fragments too
	{"udp", labelUDP, 0.4},              // it may be a reflection
	{"tcp", "tcp_flood", 0.3},
}

// counterNames are labels of counters whose threshold was crossed.
var counterNames = map[string]string{
	"tcp_syn": "syn_flood", "syn_ack": "syn_ack_reflection", "ack": "ack_flood", "rst": "rst_flood", "fin": "fin_flood", "null": "null_flood",
	"xmas": "xmas_flood", "gre": "gre_flood", "icmp": "icmp_flood",
}

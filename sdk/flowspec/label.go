package flowspec

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	fin, syn, rst, psh, ack, urg = traffic.FlagFIN, traffic.FlagSYN, traffic.FlagRST, traffic.FlagPSH, traffic.FlagACK, traffic.FlagURG
	six                          = fin | syn | rst | psh | ack | urg
)

// of is one of the protocols above.
func of(name string) []Protocol { return []Protocol{protocols[name]} }

// labels say what the packets of a kind of attack have in common, by the label
// of an event. Labels that are not here, such as mixed, say nothing of single
// packets.
var labels = map[string]Rule{
	"xmas_flood":              {Protocols: of("tcp"), Set: fin | psh | urg},
	"syn_flood":               {Protocols: of("tcp"), Set: syn, Clear: ack},
	"syn_ack_reflection":      {Protocols: of("tcp"), Set: syn | ack},
	"rst_flood":               {Protocols: of("tcp"), Set: rst},
	"fin_flood":               {Protocols: of("tcp"), Set: fin, Clear: syn | rst | psh | ack},
	"ack_flood":               {Protocols: of("tcp"), Set: ack, Clear: syn | fin | rst | psh, Numeric: map[Component][]Span{PacketLength: {{0, 400}}}}, // data to our host is longer
	"null_flood":              {Protocols: of("tcp"), Clear: six},
	"tcp_flood":               {Protocols: of("tcp")},
	"udp_flood":               {Protocols: of("udp")},
	"icmp_flood":              {Protocols: of("icmp")},
	"gre_flood":               {Protocols: of("gre")},
	"fragmentation":           {Fragment: IsFragment | FirstFragment | LastFragment},
	"qotd_reflection":         reflection(17),
	"chargen_reflection":      reflection(19),
	"dns_reflection":          reflection(53),
	"tftp_reflection":         reflection(69),
	"portmap_reflection":      reflection(111),
	"ntp_reflection":          reflection(123),
	"netbios_reflection":      reflection(137),
	"snmp_reflection":         reflection(161),
	"cldap_reflection":        reflection(389),
	"slp_reflection":          reflection(427),
	"isakmp_reflection":       reflection(500, 4500),
	"rip_reflection":          reflection(520),
	"ssdp_reflection":         reflection(1900),
	"ard_reflection":          reflection(3283),
	"rdp_reflection":          reflection(3389),
	"ws_discovery_reflection": reflection(3702),
	"mdns_reflection":         reflection(5353),
	"coap_reflection":         reflection(5683),
	"ubiquiti_reflection":     reflection(10001),
	"memcached_reflection":    reflection(11211),
	"dvr_reflection":          reflection(37810),
}

// counters are labels by the name of the counter whose threshold was crossed,
// where there is no label yet. Counters that have a label's name are not
// repeated.
var counters = map[string]string{
	"tcp": "tcp_flood", "udp": "udp_flood", "icmp": "icmp_flood", "fragmented": "fragmentation", "tcp_syn": "syn_flood",
	"syn_ack": "syn_ack_reflection", "ack": "ack_flood", "rst": "rst_flood", "fin": "fin_flood", "null": "null_flood", "xmas": "xmas_flood", "gre": "gre_flood",
}

// reflection is what a service's answers look like: they come from its port.
func reflection(ports ...uint64) Rule {
	var spans []Span
	for _, p := range ports {
		spans = append(spans, Span{p, p})
	}
	return Rule{Protocols: of("udp"), Numeric: map[Component][]Span{SourcePort: spans}}
}

// leastShare is the share of the packets from which a part of a mixed attack
// gets a rule of its own.
const leastShare = 0.1

// ForEvent finds the rules for an attack: by its label, of a mixed one by its
// parts, else by the counter that was crossed first. None: it is not known
// what the packets have in common.
func ForEvent(e *sdk.Event) []*Rule {
	if r, ok := labels[e.Label]; ok {
		return []*Rule{&r}
	}
	var out []*Rule
	if e.Evidence != nil {
		for _, p := range e.Evidence.Parts {
			if r, ok := labels[p.Label]; ok && p.Share >= leastShare {
				out = append(out, &r)
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, name := range []string{e.Counter, counters[e.Counter]} {
		if r, ok := labels[name]; ok {
			return []*Rule{&r}
		}
	}
	return nil
}

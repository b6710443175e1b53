package main

import (
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var (
	tcp  = []protocol{protocolNames["tcp"]}
	udp  = []protocol{protocolNames["udp"]}
	icmp = []protocol{protocolNames["icmp"]}
	gre  = []protocol{protocolNames["gre"]}
)

const (
	fin, syn, rst, psh, ack, urg = traffic.FlagFIN, traffic.FlagSYN, traffic.FlagRST, traffic.FlagPSH, traffic.FlagACK, traffic.FlagURG
	six                          = fin | syn | rst | psh | ack | urg
)

// labelRules say what a kind of attack looks like, by the labels of
// sdk.Labels. The labels that are not here (sdk.LabelMixed, sdk.LabelCarpet and
// the like) say nothing of single packets.
var labelRules = map[string]rule{
	"xmas_flood":              {protocols: tcp, set: fin | psh | urg},
	"syn_flood":               {protocols: tcp, set: syn, clear: ack},
	"syn_ack_reflection":      {protocols: tcp, set: syn | ack},
	"rst_flood":               {protocols: tcp, set: rst},
	"fin_flood":               {protocols: tcp, set: fin, clear: syn | rst | psh | ack},
	"ack_flood":               {protocols: tcp, set: ack, clear: syn | fin | rst | psh, numeric: lengths(0, 400)}, // data to our host is longer
	"null_flood":              {protocols: tcp, clear: six},
	"tcp_flood":               {protocols: tcp},
	"udp_flood":               {protocols: udp},
	"icmp_flood":              {protocols: icmp},
	"gre_flood":               {protocols: gre},
	"fragmentation":           {fragment: isFragment | firstFragment | lastFragment},
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

// counterRules are labels by the name of the counter whose threshold was
// crossed, where there is no label yet. Counters that have a label's name are
// not repeated.
var counterRules = map[string]string{
	"tcp": "tcp_flood", "udp": "udp_flood", "icmp": "icmp_flood", "fragmented": "fragmentation", "tcp_syn": "syn_flood",
	"syn_ack": "syn_ack_reflection", "ack": "ack_flood", "rst": "rst_flood", "fin": "fin_flood", "null": "null_flood", "xmas": "xmas_flood", "gre": "gre_flood",
}

// reflection is what a service's answers look like: they come from its port.
func reflection(ports ...uint64) rule {
	var spans []span
	for _, p := range ports {
		spans = append(spans, span{p, p})
	}
	return rule{protocols: udp, numeric: map[bgp.BGPFlowSpecType][]span{bgp.FLOW_SPEC_TYPE_SRC_PORT: spans}}
}

func lengths(low, high uint64) map[bgp.BGPFlowSpecType][]span {
	return map[bgp.BGPFlowSpecType][]span{bgp.FLOW_SPEC_TYPE_PKT_LEN: {{low, high}}}
}

// leastShare is the share of the packets from which a part of a mixed attack
// gets a rule of its own.
const leastShare = 0.1

// rulesFor finds the rules for an attack: by its label, of a mixed one by its
// parts, else by the counter that was crossed first. None: it is not known
// what the packets have in common.
func rulesFor(e *sdk.Event) []labelled {
	if r, ok := labelRules[e.Label]; ok {
		return []labelled{{e.Label, &r}}
	}
	var out []labelled
	if e.Evidence != nil {
		for _, p := range e.Evidence.Parts {
			if r, ok := labelRules[p.Label]; ok && p.Share >= leastShare {
				out = append(out, labelled{p.Label, &r})
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, name := range []string{e.Counter, counterRules[e.Counter]} {
		if r, ok := labelRules[name]; ok {
			return []labelled{{name, &r}}
		}
	}
	return nil
}

// labelled is a rule and the label that it stands for.
type labelled struct {
	label string
	*rule
}

package pcapfilter

import (
	"slices"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	protoIGMP uint8 = 2
	protoIGRP uint8 = 9
	protoESP  uint8 = 50
	protoAH   uint8 = 51
	protoPIM  uint8 = 103
	protoVRRP uint8 = 112
	protoSCTP uint8 = 132
)

// families in which a protocol's name means something.
const (
	v4 = 1 << iota
	v6
)

// protocol is what a protocol's name stands for.
type protocol struct {
	number   uint8
	families uint8
}

// protocols are the words that stand for themselves, as tcpdump reads them.
var protocols = map[string]protocol{
	"tcp": {traffic.ProtoTCP, v4 | v6}, "udp": {traffic.ProtoUDP, v4 | v6}, "sctp": {protoSCTP, v4 | v6},
	"icmp": {traffic.ProtoICMP, v4}, "icmp6": {traffic.ProtoICMPv6, v6}, "igmp": {protoIGMP, v4}, "igrp": {protoIGRP, v4},
	"pim": {protoPIM, v4 | v6}, "vrrp": {protoVRRP, v4}, "carp": {protoVRRP, v4}, "ah": {protoAH, v4 | v6}, "esp": {protoESP, v4 | v6},
}

// numbers of protocols behind the word proto.
var protoNumbers = map[string]uint8{
	"icmp": traffic.ProtoICMP, "icmp6": traffic.ProtoICMPv6, "ipv6-icmp": traffic.ProtoICMPv6, "igmp": protoIGMP, "igrp": protoIGRP, "tcp": traffic.ProtoTCP,
	"udp": traffic.ProtoUDP, "sctp": protoSCTP, "pim": protoPIM, "vrrp": protoVRRP, "carp": protoVRRP, "ah": protoAH, "esp": protoESP,
	"gre": traffic.ProtoGRE, "ospf": 89, "ipip": 4, "ipv6": 41, "l2tp": 115,
}

// missing are words of the language that ask for what a record does not hold.
var missing = map[string]string{
	"ether": "link-layer addresses and types", "link": "link-layer addresses and types", "fddi": "link-layer addresses", "tr": "link-layer addresses", "wlan": "802.11 headers", "ppp": "link headers", "slip": "link headers",
	"arp": "packets other than IP", "rarp": "packets other than IP", "decnet": "packets other than IP", "atalk": "packets other than IP", "aarp": "packets other than IP",
	"iso": "packets other than IP", "clnp": "packets other than IP", "esis": "packets other than IP", "isis": "packets other than IP", "lat": "packets other than IP", "moprc": "packets other than IP", "mopdl": "packets other than IP",
	"stp": "packets other than IP", "ipx": "packets other than IP", "netbeui": "packets other than IP", "llc": "packets other than IP",
	"mpls": "MPLS labels", "pppoed": "PPPoE", "pppoes": "PPPoE sessions", "geneve": "what is inside tunnels", "vxlan": "what is inside tunnels", "gateway": "link-layer addresses", "protochain": "chains of headers",
	"inbound": "directions of a link: networks give traffic its direction", "outbound": "directions of a link: networks give traffic its direction",
	"broadcast": "broadcast addresses, which depend on the network's mask: write dst host 198.51.100.255", "type": "802.11 headers", "subtype": "802.11 headers", "dir": "802.11 headers",
	"ifname": "interfaces by name", "on": "interfaces by name", "rnr": "what a packet filter has decided", "rulenum": "what a packet filter has decided", "reason": "what a packet filter has decided", "rset": "what a packet filter has decided",
	"ruleset": "what a packet filter has decided", "srnr": "what a packet filter has decided", "subrulenum": "what a packet filter has decided", "action": "what a packet filter has decided", "lane": "ATM", "oam": "ATM", "vpi": "ATM", "vci": "ATM",
}

// keywords are the other words of the language.
var keywords = []string{"and", "or", "not", "src", "dst", "host", "net", "port", "portrange", "mask", "proto", "less", "greater", "len", "length", "ip", "ip6", "vlan", "multicast"}

// constants are names for numbers.
var constants = map[string]uint32{
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
	"tcpflags": 13, "icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8, "icmp-routeradvert": 9,
	"icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15,
	"icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4, "icmp6-echo": 128,
	"icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130, "icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132,
	"icmp6-routersolicit": 133, "icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
}

// nearest is the word that a mistyped one may mean, "" where none is near.
func nearest(text string) string {
	words := slices.Clone(keywords)
	for _, names := range []map[string]bool{keys(protocols), keys(constants)} {
		for name := range names {
			words = append(words, name)
		}
	}
	slices.Sort(words)
	best, least := "", max(1, len(text)/3)+1
	for _, w := range words {
		if d := distance(text, w); d < least {
			best, least = w, d
		}
	}
	return best
}

func keys[V any](m map[string]V) map[string]bool {
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// distance is how many letters have to be changed, added, taken away or
// swapped with their neighbour.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + min(rows[i-1][j], rows[i][j-1], rows[i-1][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// isKeyword reports whether a word has a meaning of its own in the language.
func isKeyword(s string) bool {
	_, absent := missing[s]
	_, named := protocols[s]
	return absent || named || slices.Contains(keywords, strings.ToLower(s))
}

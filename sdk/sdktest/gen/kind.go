package gen

import (
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Kind names a kind of attack.
type Kind string

// The kinds.
const (
	SYNFlood               Kind = "syn_flood"
	SYNACKReflection       Kind = "syn_ack_reflection"
	ACKFlood               Kind = "ack_flood"
	RSTFlood               Kind = "rst_flood"
	UDPFlood               Kind = "udp_flood"
	ICMPFlood              Kind = "icmp_flood"
	FragmentFlood          Kind = "fragment_flood"
	DNSAmplification       Kind = "dns_amplification"
	NTPAmplification       Kind = "ntp_amplification"
	SSDPAmplification      Kind = "ssdp_amplification"
	MemcachedAmplification Kind = "memcached_amplification"
	ChargenAmplification   Kind = "chargen_amplification"
	SNMPAmplification      Kind = "snmp_amplification"
	CLDAPAmplification     Kind = "cldap_amplification"
	ISAKMPReflection       Kind = "isakmp_reflection"
	MDNSAmplification      Kind = "mdns_amplification"
	WSDAmplification       Kind = "ws_discovery_amplification"
	CoAPAmplification      Kind = "coap_amplification"
	ARDAmplification       Kind = "ard_amplification"
	UbiquitiAmplification  Kind = "ubiquiti_amplification"
	DVRAmplification       Kind = "dvr_amplification"
	Carpet                 Kind = "carpet"
	Mixed                  Kind = "mixed"
)

// KindInfo describes a kind of attack for people.
type KindInfo struct {
	Kind        Kind
	Description string
}

// trait is what makes a kind of attack.
type trait struct {
	description string
	proto       uint8
	flags       uint8
	service     uint16 // port of the attacking side; 0: random
	ports       []uint16
	size        int // of the IPv4 packet; IPv6 has 20 octets more
	reflectors  bool
	fragments   bool
	spread      bool
	parts       []Kind // of a mixed attack, in equal shares
	fill        func([]byte, *spec)
}

var (
	web   = []uint16{80, 443}
	kinds = map[Kind]trait{
		SYNFlood:         {description: "TCP SYN from random sources to ports 80 and 443", proto: traffic.ProtoTCP, flags: traffic.FlagSYN, ports: web, size: 40},
		SYNACKReflection: {description: "TCP SYN+ACK from the web servers of others", proto: traffic.ProtoTCP, flags: traffic.FlagSYN | traffic.FlagACK, service: 443, size: 40, reflectors: true},
		ACKFlood:         {description: "TCP ACK from random sources to ports 80 and 443", proto: traffic.ProtoTCP, flags: traffic.FlagACK, ports: web, size: 40},
		RSTFlood:         {description: "TCP RST from random sources to ports 80 and 443", proto: traffic.ProtoTCP, flags: traffic.FlagRST, ports: web, size: 40},
		UDPFlood:         {description: "UDP from random sources to random ports", proto: traffic.ProtoUDP, size: 512},
		ICMPFlood:        {description: "ICMP or ICMPv6 echo requests from random sources", proto: traffic.ProtoICMP, size: 84},
		FragmentFlood:    {description: "later fragments of UDP datagrams that never complete", proto: traffic.ProtoUDP, size: 1500, fragments: true},
		DNSAmplification: {description: "large DNS answers from open resolvers (UDP 53), in fragments", proto: traffic.ProtoUDP, service: 53, size: 3200, reflectors: true, fill: fillDNSResponse},
		NTPAmplification: {description: "NTP monlist answers (UDP 123), 468 octets each", proto: traffic.ProtoUDP, service: 123, size: 468, reflectors: true, fill: fillNTP},
		SSDPAmplification: {
			description: "SSDP answers (UDP 1900) from home devices", proto: traffic.ProtoUDP, service: 1900, size: 330,
			reflectors: true, fill: fillSSDP,
		},
		MemcachedAmplification: {
			description: "memcached values (UDP 11211), 1428 octets each", proto: traffic.ProtoUDP, service: 11211, size: 1428,
			reflectors: true, fill: fillMemcached,
		},
		ChargenAmplification:  reflection("Character Generator lines (UDP 19)", 19, 1052, fillChargen),
		SNMPAmplification:     reflection("SNMP GetBulk answers (UDP 161), in fragments", 161, 2200, fillSNMP),
		CLDAPAmplification:    reflection("CLDAP root entries (UDP 389) from domain controllers, in fragments", 389, 3000, fillCLDAP),
		ISAKMPReflection:      reflection("IKE answers (UDP 500) from VPN gateways", 500, 236, fillISAKMP),
		MDNSAmplification:     reflection("multicast DNS answers (UDP 5353)", 5353, 428, fillMDNS),
		WSDAmplification:      reflection("WS-Discovery matches (UDP 3702) from cameras and printers", 3702, 1180, fillWSD),
		CoAPAmplification:     reflection("CoAP resource lists (UDP 5683) from small devices", 5683, 560, fillCoAP),
		ARDAmplification:      reflection("Apple Remote Desktop answers (UDP 3283)", 3283, 1034, fillARD),
		UbiquitiAmplification: reflection("Ubiquiti discovery answers (UDP 10001)", 10001, 220, fillUbiquiti),
		DVRAmplification:      reflection("DHCPDiscover answers of video recorders (UDP 37810)", 37810, 800, fillDVR),
		Carpet:                {description: "UDP flood spread over the 256 addresses that share all but the target's last octet", proto: traffic.ProtoUDP, size: 512, spread: true},
		Mixed:                 {description: "SYN, UDP and ICMP floods at once", parts: []Kind{SYNFlood, UDPFlood, ICMPFlood}},
	}
)

// reflection is a service's answers to questions that it believes the target
// asked.
func reflection(description string, port uint16, size int, fill func([]byte, *spec)) trait {
	return trait{description: description, proto: traffic.ProtoUDP, service: port, size: size, reflectors: true, fill: fill}
}

// Kinds lists the kinds of attack by name.
func Kinds() []KindInfo {
	var all []KindInfo
	for _, name := range KindNames() {
		all = append(all, KindInfo{Kind(name), kinds[Kind(name)].description})
	}
	return all
}

// KindNames lists the names of the kinds of attack, sorted.
func KindNames() []string {
	names := make([]string, 0, len(kinds))
	for k := range kinds {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return names
}

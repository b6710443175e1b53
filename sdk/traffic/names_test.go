package traffic

import "testing"

func TestReportNames(t *testing.T) {
	for protocol, want := range map[uint8]string{0: "hopopt", 1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "ipv6-icmp", 61: "61", 89: "ospfigp", 103: "pim", 112: "vrrp", 115: "l2tp", 132: "sctp", 136: "udplite", 143: "ethernet", 144: "144", 255: "255"} {
		if got := ProtocolName(protocol); got != want {
			t.Errorf("protocol %d is called %s, want %s", protocol, got, want)
		}
	}
	for flags, want := range map[uint8]string{0: "-", FlagSYN: "syn", FlagSYN | FlagACK: "syn,ack", 0xff: "fin,syn,rst,psh,ack,urg,ece,cwr"} {
		if got := FlagNames(flags); got != want {
			t.Errorf("flags %#x are called %s, want %s", flags, got, want)
		}
	}
}

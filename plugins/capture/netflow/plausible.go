package main

// What no exporter can have seen. A record whose counters say so is not believed in
// anything: its packets are as likely to be wrong as its octets.
const (
	// packetBits is how many bits an IP packet's length has at the very most: the
	// largest is of 65,535 octets, and what network cards put together for the
	// system below half a mebioctet (Linux, BIG TCP).
	packetBits = 20
	// counterBits is how many bits a record's counters have that is plain; larger
	// ones are looked at.
	counterBits = 32
	// What one flow can have in a second: 100 Tbit/s, in packets of 84 octets on
	// the wire, the shortest of Ethernet.
	mostOctets  = 100e12 / 8
	mostPackets = mostOctets / 84
)

// apart tells whether a record's octets cannot be those of its packets: they are too
// many, or fewer than the packets. Some exporters tell one of the two only.
func apart(packets, octets uint64) bool {
	return packets > 0 && octets > 0 && (octets>>packetBits >= packets || octets < packets)
}

const apartText = "a record has more octets than its packets can have, or fewer than packets"

// tooFast tells whether no link can have carried so much in a flow's time, of which
// a second is the least.
func tooFast(packets, octets uint64, durationMs uint32) bool {
	seconds := max(float64(durationMs), 1000) / 1000
	return float64(octets) > mostOctets*seconds || float64(packets) > mostPackets*seconds
}

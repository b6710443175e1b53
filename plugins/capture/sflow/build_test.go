package main

import (
	"encoding/binary"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// numbers writes 32-bit numbers.
func numbers(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func padded(b []byte) []byte { return append(b[:len(b):len(b)], make([]byte, -len(b)&3)...) }

// opaque is octets with their length before them, padded.
func opaque(b []byte) []byte { return join(numbers(uint32(len(b))), padded(b)) }

func addressOf(a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return numbers(addressNone)
	case a.Is4():
		return join(numbers(address4), a.AsSlice())
	}
	return join(numbers(address6), a.AsSlice())
}

// datagram is a datagram to be built.
type datagram struct {
	version  uint32
	agent    netip.Addr
	subAgent uint32
	sequence uint32
	samples  [][]byte
	count    uint32 // announced beyond the samples there are
}

func (g datagram) bytes() []byte {
	if g.version == 0 {
		g.version = version5
	}
	b := join(numbers(g.version), addressOf(g.agent))
	if g.version == version5 {
		b = append(b, numbers(g.subAgent)...)
	}
	b = append(b, numbers(g.sequence, 1000, uint32(len(g.samples))+g.count)...)
	return append(b, join(g.samples...)...)
}

// tlv is a sample or record of version 5: format, length, body.
func tlv(format uint32, body ...[]byte) []byte {
	return join(numbers(format), opaque(join(body...)))
}

// flowSample is a flow sample to be built; see sample.
type flowSample struct {
	sequence, class, index, rate, pool, drops uint32
	in, out, outFormat                        uint32
	records                                   [][]byte
}

func (s flowSample) compact() []byte {
	return tlv(sampleFlow, numbers(s.sequence, s.class<<24|s.index, s.rate, s.pool, s.drops, s.in, s.outFormat<<30|s.out, uint32(len(s.records))),
		join(s.records...))
}

func (s flowSample) expanded() []byte {
	return tlv(sampleFlowExpanded, numbers(s.sequence, s.class, s.index, s.rate, s.pool, s.drops, 0, s.in, s.outFormat, s.out, uint32(len(s.records))),
		join(s.records...))
}

func (s flowSample) discard(reason uint32) []byte {
	return tlv(sampleDiscard, numbers(s.sequence, s.class, s.index, s.drops, s.in, s.out, reason, uint32(len(s.records))), join(s.records...))
}

// old builds a sample of version 2 or 4: packet data, then extended data.
func (s flowSample) old(packet []byte, extended ...[]byte) []byte {
	return join(numbers(sample4Flow, s.sequence, s.class<<24|s.index, s.rate, s.pool, s.drops, s.in, s.out), packet,
		numbers(uint32(len(extended))), join(extended...))
}

// header is a sampled header record; frame is the length on the wire.
func header(protocol, frame uint32, octets []byte) []byte {
	return tlv(recordHeader, numbers(protocol, frame, 4), opaque(octets))
}

func header4(protocol, frame uint32, octets []byte) []byte {
	return join(numbers(packet4Header, protocol, frame), opaque(octets))
}

// decodedIP is sampled IPv4 or IPv6 data without format.
func decodedIP(length, protocol uint32, src, dst netip.Addr, sport, dport, flags, tos uint32) []byte {
	return join(numbers(length, protocol), src.AsSlice(), dst.AsSlice(), numbers(sport, dport, flags, tos))
}

// asPath is a path of an AS sequence, and an AS set behind it if there is one.
func asPath(sequence []uint32, set ...uint32) []byte {
	segments := uint32(1)
	b := join(numbers(2, uint32(len(sequence))), numbers(sequence...))
	if len(set) > 0 {
		segments++
		b = join(b, numbers(1, uint32(len(set))), numbers(set...))
	}
	return join(numbers(segments), b)
}

func gatewayData(hop []byte, path []byte) []byte {
	return join(hop, numbers(64500, 64501, 64502), path, numbers(2, 64500<<16|1, 64500<<16|2), numbers(100))
}

// ifCounters is a counter sample of version 5 with generic counters and a
// name.
func ifCounters(index uint32, name string) []byte {
	return tlv(sampleCounters, numbers(7, index, 2),
		tlv(1, make([]byte, 88)), tlv(counterPortName, opaque([]byte(name))))
}

// sampledHeader is the first octets of a frame.
func sampledHeader(f []byte, n int) []byte { return f[:min(n, len(f))] }

// frames of a mix of hosts in gen.BatchNetwork4 and 6.
func someFrames(n int, v6 bool) [][]byte {
	slots := gen.Frames(1, 1000, 0, v6, n)
	out := make([][]byte, n)
	for i := range out {
		out[i] = slots.Frame(i)
	}
	return out
}

var (
	agent4 = netip.MustParseAddr("192.0.2.1")
	agent6 = netip.MustParseAddr("2001:db8:ffff::1")
	hop4   = netip.MustParseAddr("198.51.100.1")
	hop6   = netip.MustParseAddr("2001:db8:ffff::2")
	src4   = netip.MustParseAddr("198.51.100.7")
	dst4   = netip.MustParseAddr("203.0.113.9")
	src6   = netip.MustParseAddr("2a00::7")
	dst6   = netip.MustParseAddr("2001:db8::9")
)

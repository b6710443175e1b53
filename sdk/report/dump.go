package report

import (
	"net/netip"
	"strconv"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Packets lists packets and flow records, a line each:
//
//	2016-05-10 13:45:01.000123 10.0.0.1:1025 > 10.10.10.221:80 protocol: tcp flags: syn frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n
//
// Times are local. Like the original's, lines give packets and octets as they
// were sampled, not multiplied.
func Packets(samples []sdk.Sample) []byte {
	var b []byte
	for i := range samples {
		if r, ok := samples[i].Packet(); ok {
			b = appendPacket(b, &samples[i], &r)
		}
	}
	return b
}

func appendPacket(b []byte, s *sdk.Sample, r *traffic.Record) []byte {
	b = s.Time.Local().AppendFormat(b, "2006-01-02 15:04:05.000000")
	b = append(b, ' ')
	b = append(appendHost(b, r.SrcAddr(), r.SrcPort), " > "...)
	b = append(appendHost(b, r.DstAddr(), r.DstPort), " protocol: "...)
	b = append(b, traffic.ProtocolName(r.Protocol)...)
	if r.Protocol == traffic.ProtoTCP {
		b = append(append(b, " flags: "...), traffic.FlagNames(r.TCPFlags&^(traffic.FlagECE|traffic.FlagCWR))...)
	}
	fragment := byte('0')
	if r.Marks&traffic.MarkFragment != 0 {
		fragment = '1'
	}
	packets, octets := Unscaled(r)
	b = append(append(b, " frag: "...), fragment)
	b = strconv.AppendUint(append(b, "  packets: "...), packets, 10)
	b = strconv.AppendUint(append(b, " size: "...), octets, 10)
	b = strconv.AppendUint(append(b, " bytes ttl: "...), uint64(r.TTL), 10)
	b = strconv.AppendUint(append(b, " sample ratio: "...), uint64(max(r.Sampling, 1)), 10)
	return append(b, "  \n"...)
}

func appendHost(b []byte, a netip.Addr, port uint16) []byte {
	return strconv.AppendUint(append(a.AppendTo(b), ':'), uint64(port), 10)
}

// Unscaled are a record's packets and octets as they were sampled.
func Unscaled(r *traffic.Record) (packets, octets uint64) {
	n := uint64(max(r.Sampling, 1))
	return r.Raw(), r.Bytes / n
}

// flowLines is after how many lines of a protocol and direction the flow dump is
// cropped; like the original's it has one more.
const flowLines = 100

// Flows sums the event's samples up by connection, TCP and UDP only:
//
//	Incoming
//
//	TCP flows: 2
//	10.10.10.221:80 < 10.138.0.0:1025 60 bytes 1 packets
//	…
//
//	UDP flows: 1
//	…
//
// and the same for "Outgoing", with > between the ends. Parts without flows
// are left out.
func Flows(e *sdk.Event) []byte {
	if e.Evidence == nil {
		return nil
	}
	var tables [2][2]flowTable // incoming and outgoing; TCP and UDP
	for i := range e.Evidence.Dump {
		r, ok := e.Evidence.Dump[i].Packet()
		if !ok || r.Protocol != traffic.ProtoTCP && r.Protocol != traffic.ProtoUDP {
			continue
		}
		direction, protocol := 1, 0
		// On several prefixes the samples are of the attack's direction.
		if e.Target.Contains(r.DstAddr()) || !e.Target.IsValid() && e.Direction != "outgoing" {
			direction = 0
		}
		if r.Protocol == traffic.ProtoUDP {
			protocol = 1
		}
		tables[direction][protocol].add(&r, direction == 0)
	}
	var b []byte
	for direction, name := range [...]string{"Incoming", "Outgoing"} {
		both := &tables[direction]
		if len(both[0].order)+len(both[1].order) == 0 {
			continue
		}
		if len(b) > 0 {
			b = append(b, '\n')
		}
		b = append(append(b, name...), "\n\n"...)
		b = both[0].append(b, "TCP", direction == 0)
		b = both[1].append(b, "UDP", direction == 0)
	}
	return b
}

// flow is one connection, seen from our side.
type flow struct{ ours, theirs netip.AddrPort }

type flowTable struct {
	sums  map[flow][2]uint64 // octets and packets
	order []flow             // as they were first seen
}

func (t *flowTable) add(r *traffic.Record, incoming bool) {
	f := flow{netip.AddrPortFrom(r.SrcAddr(), r.SrcPort), netip.AddrPortFrom(r.DstAddr(), r.DstPort)}
	if incoming {
		f.ours, f.theirs = f.theirs, f.ours
	}
	if t.sums == nil {
		t.sums = map[flow][2]uint64{}
	}
	sum, known := t.sums[f]
	if !known {
		t.order = append(t.order, f)
	}
	packets, octets := Unscaled(r)
	t.sums[f] = [2]uint64{sum[0] + octets, sum[1] + packets}
}

func (t *flowTable) append(b []byte, protocol string, incoming bool) []byte {
	if len(t.order) == 0 {
		return b
	}
	b = append(append(b, protocol...), " flows: "...)
	b = append(strconv.AppendInt(b, int64(len(t.order)), 10), '\n')
	between := " > "
	if incoming {
		between = " < "
	}
	for i, f := range t.order {
		if i > flowLines {
			b = append(b, "Flows have cropped due to very long list.\n"...)
			break
		}
		b = append(appendHost(b, f.ours.Addr(), f.ours.Port()), between...)
		b = append(appendHost(b, f.theirs.Addr(), f.theirs.Port()), ' ')
		sum := t.sums[f]
		b = append(strconv.AppendUint(b, sum[0], 10), " bytes "...)
		b = append(strconv.AppendUint(b, sum[1], 10), " packets\n"...)
	}
	return append(b, '\n')
}

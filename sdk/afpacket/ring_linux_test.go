package afpacket

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// sink is a writer that adds up.
type sink struct {
	records         [batchRecords]traffic.Record
	packets, octets uint64
	dropped         [causes]uint64
	sampled         uint64
}

func (s *sink) Reserve(n int) []traffic.Record { return s.records[:min(n, len(s.records))] }

func (s *sink) Commit(n int, _ func(int) []byte) {
	for i := range s.records[:n] {
		s.packets += s.records[i].Packets
		s.octets += s.records[i].Bytes
		s.sampled = max(s.sampled, uint64(s.records[i].Sampling))
	}
}

func (s *sink) Dropped(cause int, n uint64) { s.dropped[cause] += n }

// udpFrame is an Ethernet frame of 60 octets with an IPv4 packet of 46.
func udpFrame() []byte {
	b := make([]byte, 60)
	copy(b[12:], []byte{8, 0, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0, 198, 51, 100, 1, 203, 0, 113, 7, 0, 53, 0x10, 0, 0, 26})
	return b
}

// filled makes a ring whose blocks are full of a frame, and returns how many
// lie in each.
func filled(blocks int, frame []byte, change func(h []byte)) (s *socket, each int) {
	ne := binary.NativeEndian
	s = &socket{fd: -1, link: traffic.LinkEthernet, count: blocks, mem: make([]byte, blocks*blockSize)}
	const mac = 96
	step := (mac + len(frame) + 15) &^ 15
	for i := range blocks {
		b := s.block(i)
		each = 0
		for off := blockHeader; off+step <= blockSize; off += step {
			h := b[off:]
			ne.PutUint32(h[frameNext:], uint32(step))
			ne.PutUint32(h[frameSec:], 1_700_000_000)
			ne.PutUint32(h[frameSnap:], uint32(len(frame)))
			ne.PutUint32(h[frameWire:], uint32(len(frame)))
			ne.PutUint16(h[frameMAC:], mac)
			copy(h[mac:], frame)
			if change != nil {
				change(h)
			}
			each++
		}
		ne.PutUint32(b[blockCount:], uint32(each))
		ne.PutUint32(b[blockFirst:], blockHeader)
		ne.PutUint64(b[blockSeq:], uint64(i+1))
		*s.status(i) = unix.TP_STATUS_USER
	}
	return s, each
}

// over is a worker on a ring that a test made.
func over(s *socket, o Options, w writer) *worker {
	o.normal()
	k := newWorker(&o, "test", &port{name: "test", log: o.Logger}, nil)
	k.s, k.w = s, w
	return k
}

// Under overload fewer frames are taken, each for several, and the sum stays.
func TestSampleOverload(t *testing.T) {
	s, each := filled(64, udpFrame(), nil)
	var w sink
	k := over(s, Options{SampleOverload: true}, &w)
	for k.round() {
	}
	truth := uint64(64 * each)
	if w.sampled != 64 || k.every != 1 || k.tally.skipped.Load() < truth/2 {
		t.Errorf("sampled 1 in %d at most, %d at last, %d of %d skipped", w.sampled, k.every, k.tally.skipped.Load(), truth)
	}
	if diff := float64(w.packets) - float64(truth); diff*diff > 25*64*float64(truth) || w.octets != 46*w.packets {
		t.Errorf("%d packets, %d octets, want about %d", w.packets, w.octets, truth)
	}
	for i := range s.count {
		if s.ours(i) {
			t.Fatalf("block %d was not handed back", i)
		}
	}
}

// endless is a sink in whose ring all blocks are full again whenever it is asked
// for records.
type endless struct {
	sink
	t    *testing.T
	s    *socket
	left int // times that it is asked, at most
}

func (e *endless) Reserve(n int) []traffic.Record {
	if e.left--; e.left < 0 {
		e.t.Fatal("a worker that is to end goes on for as long as frames come")
	}
	for i := range e.s.count {
		*e.s.status(i) = unix.TP_STATUS_USER
	}
	return e.sink.Reserve(n)
}

// A worker ends though frames come faster than it takes them: it takes what its
// ring can hold.
func TestCloseUnderOverload(t *testing.T) {
	s, each := filled(16, udpFrame(), nil)
	w := &endless{t: t, s: s, left: 100_000}
	k := over(s, Options{}, w)
	k.close()
	if most := uint64((16 + maxBlocks) * each); w.packets < uint64(16*each) || w.packets > most || k.s != nil {
		t.Errorf("%d packets, want %d to %d", w.packets, 16*each, most)
	}
}

// A tag that the kernel took out is put back, and counts with the frame.
func TestRestoreTag(t *testing.T) {
	ne := binary.NativeEndian
	s, each := filled(2, udpFrame(), func(h []byte) {
		ne.PutUint32(h[frameStatus:], tagValid|tpidValid)
		ne.PutUint32(h[frameTCI:], 5<<13|101)
		ne.PutUint16(h[frameTPID:], 0x88a8)
	})
	var w sink
	k := over(s, Options{Parser: traffic.Parser{LengthFromFrame: true}}, &w)
	for k.round() {
	}
	if w.packets != uint64(2*each) || w.octets != 64*w.packets || w.records[0].VLAN != 101 {
		t.Errorf("%d packets of %d, %d octets, VLAN %d", w.packets, 2*each, w.octets, w.records[0].VLAN)
	}
}

// An expression is about the packet outside, whichever counts, and holds for
// samples too.
func TestExpressionOutside(t *testing.T) {
	inner := udpFrame()
	frame := append(inner[:14:14], 0x45, 0, 0, 66, 0, 1, 0, 0, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2)
	frame = append(frame, inner[14:]...)
	for _, c := range []struct {
		expression string
		how        traffic.Decapsulation
		packets    uint64 // of each frame
		octets     uint64
	}{
		{"host 192.0.2.1", traffic.Outer, 1, 66},
		{"host 192.0.2.1", traffic.Inner, 1, 46},
		{"host 192.0.2.1", traffic.Both, 2, 66 + 46},
		{"udp", traffic.Outer, 0, 0},
		{"udp", traffic.Inner, 0, 0},
		{"udp", traffic.Both, 0, 0},
	} {
		p, err := pcapfilter.Compile(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Expression: p}
		o.Parser.Decapsulate(traffic.TunnelIPIP, c.how)
		s, each := filled(2, frame, nil)
		var w sink
		k := over(s, o, &w)
		for k.round() {
		}
		if n := uint64(2 * each); w.packets != c.packets*n || w.octets != c.octets*n {
			t.Errorf("%s, %v counts: %d packets and %d octets of %d frames", c.expression, c.how, w.packets, w.octets, n)
		}
		for _, host := range []string{"192.0.2.2/32", "203.0.113.7/32"} {
			found := k.findIn(s.block(0), &sdk.SampleRequest{Target: netip.MustParsePrefix(host)})
			if want := c.packets > 0 && (host[0] == '1') == (c.how != traffic.Inner); (len(found) > 0) != want {
				t.Errorf("%s, %v counts: %d samples of %s", c.expression, c.how, len(found), host)
			}
		}
	}
}

// Rings with nonsense in them crash nobody and end.
func FuzzBlock(f *testing.F) {
	s, _ := filled(2, udpFrame(), nil)
	f.Add(s.mem[:4096])
	f.Fuzz(func(_ *testing.T, data []byte) {
		s, _ := filled(2, udpFrame(), nil)
		copy(s.block(0), data)
		*s.status(0) = unix.TP_STATUS_USER
		var w sink
		k := over(s, Options{Sampling: 3}, &w)
		k.round()
		k.findIn(s.block(0), &sdk.SampleRequest{})
	})
}

// BenchmarkRing takes small frames out of a ring of 64 MiB: what the capture
// costs before its records are counted, for each frame.
func BenchmarkRing(b *testing.B) {
	s, each := filled(256, udpFrame(), nil)
	var w sink
	k := over(s, Options{}, &w)
	b.ReportAllocs()
	frames := 0
	for b.Loop() {
		if frames%each == 0 {
			at := int(k.taken % uint64(s.count))
			*s.status(at) = unix.TP_STATUS_USER
			k.round()
		}
		frames++
	}
	if w.packets == 0 || w.octets != 46*w.packets {
		b.Fatalf("%d packets, %d octets", w.packets, w.octets)
	}
}

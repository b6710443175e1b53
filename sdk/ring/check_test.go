package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"unsafe"
)

// goodHost is a delta that Check accepts.
func goodHost(addr string) Delta {
	a := netip.MustParseAddr(addr)
	d := Delta{
		Kind: KindHost, Direction: Incoming, Family: 6, Network: 1, Group: 2, Addr: a.As16(), SpanMs: 50,
		Packets: 100, Bytes: 6400, Flows: 3, Sampling: 1, Samples: 100, PrefixLen: 128,
	}
	d.CounterPackets[CounterTCP], d.CounterBytes[CounterTCP] = 60, 6000
	if a.Is4() {
		d.Family, d.PrefixLen = 4, 32
	}
	return d
}

func TestDeltaCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		addr   string
		change func(d *Delta)
		want   error
	}{
		{"v4 host", "192.0.2.1", func(*Delta) {}, nil},
		{"v6 host", "2001:db8::1", func(*Delta) {}, nil},
		{"v6 /64 host", "2001:db8::", func(d *Delta) { d.PrefixLen = 64 }, nil},
		{"v6 /56 host", "2001:db8:0:100::", func(d *Delta) { d.PrefixLen = 56 }, nil},
		{"v4 prefix", "192.0.2.0", func(d *Delta) { d.Kind, d.PrefixLen = KindPrefix, 24 }, nil},
		{"v4 default prefix", "0.0.0.0", func(d *Delta) { d.Kind, d.PrefixLen = KindPrefix, 0 }, nil},
		{"v6 default prefix", "::", func(d *Delta) { d.Kind, d.PrefixLen = KindPrefix, 0 }, nil},
		{"total", "::", func(d *Delta) { d.Kind, d.Direction, d.PrefixLen = KindTotal, Other, 0 }, nil},
		{"counter", "192.0.2.1", func(d *Delta) { d.Kind, d.ID = KindCounter, 63 }, nil},
		{"loss", "::", func(d *Delta) { *d = Delta{Kind: KindLoss, Packets: 7, ID: 3} }, nil},
		{"exempt above total", "192.0.2.1", func(d *Delta) { d.CounterPackets[CounterExempt] = 1000 }, nil},
		{"kind 0", "192.0.2.1", func(d *Delta) { d.Kind = 0 }, ErrKind},
		{"kind 7", "192.0.2.1", func(d *Delta) { d.Kind = 7 }, ErrKind},
		{"host internal", "192.0.2.1", func(d *Delta) { d.Direction = Internal }, ErrDirection},
		{"total direction", "192.0.2.1", func(d *Delta) { d.Kind, d.Direction = KindTotal, 4 }, ErrDirection},
		{"family 0", "192.0.2.1", func(d *Delta) { d.Family = 0 }, ErrFamily},
		{"family 5", "192.0.2.1", func(d *Delta) { d.Family = 5 }, ErrFamily},
		{"total family 0", "192.0.2.1", func(d *Delta) { d.Kind, d.Family = KindTotal, 0 }, ErrFamily},
		{"loss family 1", "::", func(d *Delta) { *d = Delta{Kind: KindLoss, Family: 1} }, ErrFamily},
		{"flag", "192.0.2.1", func(d *Delta) { d.Flags = 16 }, ErrFlags},
		{"v4 unmapped", "192.0.2.1", func(d *Delta) { d.Addr[10] = 0 }, ErrAddress},
		{"v6 mapped", "2001:db8::1", func(d *Delta) { d.Addr = netip.MustParseAddr("192.0.2.1").As16() }, ErrAddress},
		{"v4 not masked", "192.0.2.1", func(d *Delta) { d.Kind, d.PrefixLen = KindPrefix, 24 }, ErrAddress},
		{"v6 not masked low", "2001:db8::1", func(d *Delta) { d.PrefixLen = 64 }, ErrAddress},
		{"v6 not masked high", "2001:db8::", func(d *Delta) { d.PrefixLen = 28 }, ErrAddress},
		{"v4 host /31", "192.0.2.0", func(d *Delta) { d.PrefixLen = 31 }, ErrPrefixLen},
		{"v4 /33", "192.0.2.0", func(d *Delta) { d.Kind, d.PrefixLen = KindPrefix, 33 }, ErrPrefixLen},
		{"v6 /129", "2001:db8::1", func(d *Delta) { d.PrefixLen = 129 }, ErrPrefixLen},
		{"v6 host /0", "::", func(d *Delta) { d.PrefixLen = 0 }, ErrPrefixLen},
		{"span 0", "192.0.2.1", func(d *Delta) { d.SpanMs = 0 }, ErrSpan},
		{"span 51", "192.0.2.1", func(d *Delta) { d.SpanMs = 51 }, ErrSpan},
		{"span too long", "192.0.2.1", func(d *Delta) { d.SpanMs = MaxSpanMs + 50 }, ErrSpan},
		{"packets", "192.0.2.1", func(d *Delta) { d.CounterPackets[CounterUDP] = 101 }, ErrCounters},
		{"bytes", "192.0.2.1", func(d *Delta) { d.CounterBytes[CounterDropped] = 6401 }, ErrCounters},
		{"sampling", "192.0.2.1", func(d *Delta) { d.Sampling = 0 }, ErrSampling},
		{"counter id", "192.0.2.1", func(d *Delta) { d.Kind, d.ID = KindCounter, 64 }, ErrID},
		{"reserved first", "192.0.2.1", func(d *Delta) { bytesOf(d)[118] = 1 }, ErrReserved},
		{"reserved last", "192.0.2.1", func(d *Delta) { bytesOf(d)[127] = 1 }, ErrReserved},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := goodHost(c.addr)
			c.change(&d)
			if err := d.Check(); !errors.Is(err, c.want) {
				t.Errorf("Check = %v, want %v", err, c.want)
			}
		})
	}
}

func bytesOf(d *Delta) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(d)), DeltaSize)
}

func TestFlushCheck(t *testing.T) {
	good := Flush{Kind: KindFlush, Number: 1, WindowEnd: 50e6, Received: 10, Counted: 7, DroppedTotal: 3}
	for _, c := range []struct {
		name   string
		change func(f *Flush)
		want   error
	}{
		{"good", func(*Flush) {}, nil},
		{"finished", func(f *Flush) { f.Flags = FlushFinished }, nil},
		{"flags", func(f *Flush) { f.Flags = 2 }, ErrFlags},
		{"number", func(f *Flush) { f.Number = 0 }, ErrNumber},
		{"window", func(f *Flush) { f.WindowEnd++ }, ErrWindow},
		{"window negative", func(f *Flush) { f.WindowEnd = -50e6 }, ErrWindow},
		{"ledger", func(f *Flush) { f.Counted = 8 }, ErrLedger},
		{"ledger overflow", func(f *Flush) { f.DroppedTotal = 1<<64 - 1 }, ErrLedger},
		{"counted", func(f *Flush) { f.Counted = 11 }, ErrLedger},
		{"reserved 1", func(f *Flush) { bytesOf(f.AsDelta())[1] = 1 }, ErrReserved},
		{"samples", func(f *Flush) { f.Samples, f.Held = 1, 1 }, nil},
		{"reserved 104", func(f *Flush) { bytesOf(f.AsDelta())[104] = 1 }, ErrReserved},
		{"reserved 127", func(f *Flush) { bytesOf(f.AsDelta())[127] = 1 }, ErrReserved},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good
			c.change(&f)
			if err := f.AsDelta().Check(); !errors.Is(err, c.want) {
				t.Errorf("Check = %v, want %v", err, c.want)
			}
		})
	}
	notFlush := goodHost("192.0.2.1")
	if err := notFlush.AsFlush().Check(); !errors.Is(err, ErrKind) {
		t.Errorf("Check of a host as a flush = %v, want %v", err, ErrKind)
	}
}

// TestCodecBytes holds the encoding against the byte tables, whatever the
// machine's byte order is.
func TestCodecBytes(t *testing.T) {
	d := goodHost("192.0.2.1")
	d.Network, d.Packets, d.Bytes = 0x01020304, 0x1122334455667788, 0x99aabbccddeeff00
	d.CounterBytes[CounterExempt], d.Flows = 0xa1a2a3a4, 0xb1b2b3b4
	f := Flush{Kind: KindFlush, Generation: 0xc1c2c3c4, Number: 9, WindowEnd: 0x0102030405060708, Deltas: 0xd1d2d3d4, Packets: 77, Samples: 78, Held: 79}
	b := AppendDeltas([]byte{1, 2, 3}, []Delta{d, *f.AsDelta()})[3:]
	le := binary.LittleEndian
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"network", uint64(le.Uint32(b[4:])), 0x01020304},
		{"packets", le.Uint64(b[32:]), 0x1122334455667788},
		{"bytes", le.Uint64(b[40:]), 0x99aabbccddeeff00},
		{"exempt bytes", uint64(le.Uint32(b[100:])), 0xa1a2a3a4},
		{"flows", uint64(le.Uint32(b[104:])), 0xb1b2b3b4},
		{"prefix length", uint64(b[116]), 32},
		{"generation", uint64(le.Uint32(b[128+4:])), 0xc1c2c3c4},
		{"number", le.Uint64(b[128+8:]), 9},
		{"window end", le.Uint64(b[128+24:]), 0x0102030405060708},
		{"deltas", uint64(le.Uint32(b[128+64:])), 0xd1d2d3d4},
		{"flush packets", le.Uint64(b[128+80:]), 77},
		{"flush samples", le.Uint64(b[128+88:]), 78},
		{"flush held", le.Uint64(b[128+96:]), 79},
	} {
		if c.got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, c.got, c.want)
		}
	}
	swapped := bytes.Clone(b)
	swapRecords(swapped)
	if got := binary.BigEndian.Uint64(swapped[32:]); got != 0x1122334455667788 {
		t.Errorf("swapped packets = %#x", got)
	}
	if got := binary.BigEndian.Uint32(swapped[108:]); got != 1 {
		t.Errorf("swapped sampling = %d", got)
	}
	if got := binary.BigEndian.Uint64(swapped[128+72:]); got != 0 {
		t.Errorf("swapped folded = %d", got)
	}
	swapRecords(swapped)
	if !bytes.Equal(swapped, b) {
		t.Error("swapping twice changed the bytes")
	}
}

func TestDecodeRefusesPartial(t *testing.T) {
	have := []Delta{goodHost("192.0.2.1")}
	got, err := DecodeDeltas(make([]byte, DeltaSize+1), have)
	if err == nil || len(got) != 1 {
		t.Errorf("DecodeDeltas of 129 bytes = %d records, %v; want the 1 there was and an error", len(got), err)
	}
}

func FuzzDecodeDeltas(f *testing.F) {
	host := goodHost("192.0.2.1")
	flush := Flush{Kind: KindFlush, Number: 1, WindowEnd: 50e6}
	f.Add(AppendDeltas(nil, []Delta{*flush.AsDelta(), host}))
	f.Add(make([]byte, 3))
	f.Fuzz(func(t *testing.T, src []byte) {
		ds, err := DecodeDeltas(src, nil)
		if (err != nil) != (len(src)%DeltaSize != 0) {
			t.Fatalf("%d bytes: %v", len(src), err)
		}
		if err != nil {
			return
		}
		if back := AppendDeltas(nil, ds); !bytes.Equal(back, src) {
			t.Fatal("encoding what was decoded gives other bytes")
		}
		for i := range ds {
			d := &ds[i]
			if d.Check() != nil || d.Kind == KindFlush {
				continue
			}
			if d.SpanMs%50 != 0 || d.Direction > Other {
				t.Fatalf("Check let %+v through", *d)
			}
			if d.Kind == KindHost || d.Kind == KindPrefix || d.Kind == KindCounter {
				p := d.Prefix()
				if !p.IsValid() || p != p.Masked() || p.Addr().Is4() != (d.Family == 4) || d.Sampling == 0 {
					t.Fatalf("Check let %+v through with prefix %v", *d, p)
				}
			}
		}
	})
}

func BenchmarkDeltaCheck(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	ds := make([]Delta, 1024)
	for i := range ds {
		ds[i] = goodHost(netip.AddrFrom4([4]byte{10, 0, byte(rng.Uint32()), byte(rng.Uint32())}).String())
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := ds[i&1023].Check(); err != nil {
			b.Fatal(err)
		}
	}
}

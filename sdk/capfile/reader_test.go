package capfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const noon = int64(1_700_000_000) * 1e9

func drain(r *Reader) (got []want, err error) {
	var p Packet
	for {
		switch err := r.Next(&p); {
		case errors.Is(err, io.EOF):
			return got, nil
		case err != nil:
			return got, err
		}
		got = append(got, want{p.Time, p.Link, p.Wire, string(p.Data)})
	}
}

// check reads data plain and gzipped.
func check(t *testing.T, data []byte, expect []want) {
	t.Helper()
	for name, data := range map[string][]byte{"plain": data, "gzip": gzipped(t, data)} {
		got, err := readAll(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(expect, got) {
			t.Fatalf("%s: (-want +got)\n%.2000s", name, cmp.Diff(expect, got))
		}
	}
}

var le = binary.LittleEndian

var orders = map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian}

func TestClassic(t *testing.T) {
	for name, order := range orders {
		for _, nano := range []bool{false, true} {
			unit := int64(1000)
			if nano {
				unit = 1
			}
			expect := []want{
				{noon, traffic.LinkEthernet, 60, "first"},
				{noon + 999_999_000, traffic.LinkEthernet, 1514, strings.Repeat("x", 1514)},
				{noon + 1e9, traffic.LinkEthernet, 0, ""},
				{noon + 2e9, traffic.LinkEthernet, 9, "longer than the wire"[:9]},
			}
			if nano {
				expect[1].Time += 999
			}
			b := classic(order, nano, traffic.LinkEthernet)
			for _, w := range expect {
				b.record(w, unit)
			}
			t.Run(name, func(t *testing.T) { check(t, b.Bytes(), expect) })
		}
	}
}

// The length on the wire is never below what was captured, time never goes
// back, and the upper half of the link type is not part of it.
func TestClassicOddities(t *testing.T) {
	b := classic(binary.LittleEndian, true, traffic.LinkRaw)
	binary.LittleEndian.PutUint32(b.Bytes()[20:], 0xf4000000|uint32(traffic.LinkRaw))
	b.record(want{Time: noon, Wire: 2, Data: "four"}, 1)
	b.record(want{Time: noon - 5e9, Wire: 8, Data: "back"}, 1)
	check(t, b.Bytes(), []want{
		{noon, traffic.LinkRaw, 4, "four"},
		{noon, traffic.LinkRaw, 8, "back"},
	})
}

// A frame longer than the buffer is kept as far as the buffer goes, and what
// follows is read right.
func TestLongFrames(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 200<<10/16)
	b := classic(binary.BigEndian, false, traffic.LinkEthernet)
	b.record(want{Time: noon, Wire: len(long), Data: long}, 1000)
	b.record(want{Time: noon, Wire: 4, Data: "next"}, 1000)
	check(t, b.Bytes(), []want{
		{noon, traffic.LinkEthernet, len(long), long[:bufferSize-16]},
		{noon, traffic.LinkEthernet, 4, "next"},
	})
	n := ng(binary.BigEndian).iface(traffic.LinkEthernet, 0)
	n.enhanced(0, uint64(noon/1000), want{Wire: len(long), Data: long})
	n.enhanced(0, uint64(noon/1000), want{Wire: 4, Data: "next"})
	check(t, n.Bytes(), []want{
		{noon, traffic.LinkEthernet, len(long), long[:bufferSize-28]},
		{noon, traffic.LinkEthernet, 4, "next"},
	})
}

func TestNG(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			b := ng(order)
			b.iface(traffic.LinkEthernet, 96)                                                       // microseconds
			b.iface(traffic.LinkRaw, 0, option{2, []byte("eth1")}, option{optionTSResol, uint8(9)}) // nanoseconds
			b.block(0x0bad, b.body().put([]byte("unknown blocks are skipped")))
			b.iface(traffic.LinkSLL, 0, option{optionTSResol, uint8(0x80 | 10)}, option{optionTSOffset, int64(-100)})
			b.enhanced(0, uint64(noon/1000), want{Wire: 60, Data: "a"})
			b.enhanced(1, uint64(noon+1), want{Wire: 61, Data: "bc"})
			b.enhanced(2, uint64(noon/1e9+101)<<10|512, want{Wire: 62, Data: "def"})
			b.simple(want{Wire: 4, Data: "ghij"})
			b.simple(want{Wire: 1000, Data: strings.Repeat("k", 96)})
			b.obsolete(1, uint64(noon+3e9), want{Wire: 63, Data: "lmnop"})
			b.enhanced(7, uint64(noon+4e9), want{Wire: 64, Data: "of no interface"})
			b.section()
			b.iface(traffic.LinkNull, 0, option{optionTSResol, uint8(3)})
			b.enhanced(0, uint64(noon/1e6+5000), want{Wire: 65, Data: "next section"})
			check(t, b.Bytes(), []want{
				{noon, traffic.LinkEthernet, 60, "a"},
				{noon + 1, traffic.LinkRaw, 61, "bc"},
				{noon + 1_500_000_000, traffic.LinkSLL, 62, "def"},
				{noon + 1_500_000_000, traffic.LinkEthernet, 4, "ghij"},
				{noon + 1_500_000_000, traffic.LinkEthernet, 1000, strings.Repeat("k", 96)},
				{noon + 3e9, traffic.LinkRaw, 63, "lmnop"},
				{noon + 3e9, LinkUnknown, 64, "of no interface"},
				{noon + 5e9, traffic.LinkNull, 65, "next section"},
			})
		})
	}
}

// A second section may have the other byte order.
func TestNGChangesOrder(t *testing.T) {
	b := ng(binary.LittleEndian).iface(traffic.LinkRaw, 0).enhanced(0, uint64(noon/1000), want{Wire: 1, Data: "l"})
	o := ng(binary.BigEndian).iface(traffic.LinkRaw, 0).enhanced(0, uint64(noon/1000), want{Wire: 1, Data: "b"})
	b.Write(o.Bytes())
	check(t, b.Bytes(), []want{{noon, traffic.LinkRaw, 1, "l"}, {noon, traffic.LinkRaw, 1, "b"}})
}

func TestNanoseconds(t *testing.T) {
	for _, c := range []struct {
		resol  uint8
		offset int64
		ts     uint64
		want   int64
	}{
		{6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000},
		{9, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{0, 0, 1_700_000_000, 1_700_000_000e9},
		{12, 0, 1_700_000_000_123_456, 1_700_000_000_123},
		{20, 0, math.MaxUint64, 184467440},
		{127, 0, math.MaxUint64, 0},
		{0x80, 0, 3, 3e9},
		{0x80 | 1, 0, 3, 1.5e9},
		{0x80 | 32, 0, 7<<32 | 1<<31, 7.5e9},
		{0x80 | 63, 0, 1 << 63, 1e9},
		{0x80 | 64, 0, 1 << 63, 5e8},
		{0x80 | 127, 0, math.MaxUint64, 0},
		{6, 0, math.MaxUint64, Latest},
		{0, 0, math.MaxUint64, Latest},
		{6, 10, 1_000_000, 11e9},
		{6, -10, 1_000_000, 0},
		{6, math.MaxInt64, 1, Latest},
		{6, math.MinInt64, math.MaxUint64, 0},
	} {
		i := iface{resol: c.resol, offset: c.offset}
		got := i.nanoseconds(c.ts)
		slack := int64(0)
		if c.offset == math.MaxInt64 || c.offset == math.MinInt64 {
			slack = 1e9 // the offset's limit is a whole number of seconds
		}
		if d := c.want - got; d < -slack || d > slack {
			t.Errorf("resolution %#x, offset %d, %d units: %d ns, want %d", c.resol, c.offset, c.ts, got, c.want)
		}
	}
}

// A file that ends too early gives the packets before that and says where.
func TestCut(t *testing.T) {
	c := classic(binary.LittleEndian, false, traffic.LinkEthernet)
	c.record(want{Time: noon, Wire: 5, Data: "first"}, 1000)
	n := ng(binary.BigEndian).iface(traffic.LinkEthernet, 0)
	n.enhanced(0, uint64(noon/1000), want{Wire: 5, Data: "first"})
	for _, f := range []*builder{c, n} {
		whole := f.Len()
		if f == c {
			f.record(want{Time: noon, Wire: 6, Data: "second"}, 1000)
		} else {
			f.enhanced(0, uint64(noon/1000), want{Wire: 6, Data: "second"})
		}
		for end := whole; end <= f.Len(); end++ {
			got, err := readAll(f.Bytes()[:end])
			var d *Damage
			switch {
			case end == whole && (err != nil || len(got) != 1):
				t.Fatalf("whole: %d packets, %v", len(got), err)
			case end == f.Len() && (err != nil || len(got) != 2):
				t.Fatalf("whole: %d packets, %v", len(got), err)
			case end > whole && end < f.Len() && (!errors.As(err, &d) || !d.Cut || len(got) != 1 || d.offset != int64(whole)):
				t.Fatalf("cut at %d of %d: %d packets, %v", end, f.Len(), len(got), err)
			}
		}
	}
}

func TestCutGzip(t *testing.T) {
	c := classic(binary.LittleEndian, false, traffic.LinkEthernet)
	for i := range 2000 {
		c.record(want{Time: noon + int64(i)*7919000, Wire: i, Data: strings.Repeat(string(rune('a'+i*i%23)), i%40)}, 1000)
	}
	z := gzipped(t, c.Bytes())
	got, err := readAll(z[:len(z)*3/4])
	var d *Damage
	if !errors.As(err, &d) || !d.Cut || len(got) < 500 || len(got) >= 2000 {
		t.Fatalf("%d packets, %v", len(got), err)
	}
	z[len(z)/2] ^= 0x55
	if _, err = readAll(z); !errors.As(err, &d) {
		t.Fatalf("a damaged gzip stream went unnoticed: %v", err)
	}
}

// Damaged contents end the file; the packets before them are good.
func TestDamaged(t *testing.T) {
	le := binary.LittleEndian
	good := want{Time: noon, Wire: 2, Data: "ok"}
	micro := uint64(noon / 1000)
	newNG := func() *builder { return ng(le).iface(traffic.LinkEthernet, 0).enhanced(0, micro, good) }
	body := func() *builder { return &builder{order: le} }
	mismatch := newNG().enhanced(0, micro, good)
	mismatch.Bytes()[mismatch.Len()-4]++
	cases := map[string]*builder{
		"captured":                   classic(le, false, traffic.LinkEthernet).record(good, 1000).put(uint32(1), uint32(1), uint32(maxFrame+1), uint32(60)),
		"captured, all ones":         classic(le, false, traffic.LinkEthernet).record(good, 1000).put(uint64(1), ^uint64(0)),
		"block of no length":         newNG().put(uint32(5), uint32(0), uint32(0)),
		"block of odd length":        newNG().put(uint32(5), uint32(13), []byte("xxxxxxxxx")),
		"block too long":             newNG().put(uint32(5), uint32(0xfffffffc), []byte("xxxxxxxx")),
		"lengths differ":             mismatch.enhanced(0, micro, good),
		"captured more than room":    newNG().block(blockEnhanced, body().put(uint32(0), uint64(1), uint32(5), uint32(60), uint32(0))),
		"captured all ones":          newNG().block(blockEnhanced, body().put(uint32(0), uint64(1), ^uint32(0), uint32(60), uint32(0))),
		"enhanced too short":         newNG().block(blockEnhanced, body().put(uint32(0), uint64(1))),
		"simple too short":           newNG().block(blockSimple, body()),
		"interface too short":        newNG().block(blockInterface, body().put(uint32(1))),
		"second section of no order": newNG().block(magicNG, body().put(uint32(0x12345678), uint64(1), uint64(1))),
		"second section too short":   newNG().put(uint32(magicNG), uint32(16), uint32(byteOrderMagic), uint32(16), uint32(1), uint32(1), uint32(1)),
		"second section's version":   newNG().block(magicNG, body().put(uint32(byteOrderMagic), uint16(2), uint16(0), int64(-1))),
	}
	for name, b := range cases {
		got, err := readAll(b.Bytes())
		var d *Damage
		if !errors.As(err, &d) || d.Cut {
			t.Errorf("%s: %v, want damage", name, err)
		}
		expect := 1
		if name == "lengths differ" {
			expect = 2 // the packet's own contents are whole
		}
		if len(got) != expect {
			t.Errorf("%s: %d packets before the damage, want %d", name, len(got), expect)
		}
	}
}

// A flood of interfaces is bounded.
func TestInterfaceFlood(t *testing.T) {
	b := ng(binary.LittleEndian)
	for range maxInterfaces + 1 {
		b.iface(traffic.LinkEthernet, 0)
	}
	if _, err := readAll(b.Bytes()); err == nil || !strings.Contains(err.Error(), "interfaces") {
		t.Fatalf("%v", err)
	}
}

// Options that lie about their length are harmless.
func TestInterfaceOptions(t *testing.T) {
	b := ng(binary.LittleEndian)
	b.block(blockInterface, b.body().put(uint16(1), uint16(0), uint32(0), uint16(optionTSResol), uint16(0), uint16(optionTSOffset), uint16(4), uint32(9), uint16(optionTSResol), uint16(65535), uint32(3)))
	b.enhanced(0, uint64(noon/1000), want{Wire: 1, Data: "x"})
	check(t, b.Bytes(), []want{{noon, traffic.LinkEthernet, 1, "x"}})
}

func TestRefused(t *testing.T) {
	old := classic(binary.LittleEndian, false, traffic.LinkEthernet)
	old.Bytes()[6] = 3
	version := ng(binary.BigEndian)
	version.Bytes()[13] = 9
	for text, data := range map[string][]byte{
		"too short for a capture file":                  nil,
		"too short for a capture file ":                 {0xd4, 0xc3, 0xb2},
		"too short for a capture file  ":                {0xd4, 0xc3, 0xb2, 0xa1, 2, 0},
		"too short for a capture file   ":               {0x0a, 0x0d, 0x0d, 0x0a, 2, 0},
		"too short for a capture file    ":              gzipped(t, []byte{1}),
		"modified pcap format":                          {0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0},
		"modified pcap format (magic 0xa1b2cd34)":       {0xa1, 0xb2, 0xcd, 0x34, 2, 0, 4, 0},
		"version 2.3":                                   old.Bytes(),
		"pcapng version 9.0":                            version.Bytes(),
		"byte-order magic":                              append([]byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0}, make([]byte, 20)...),
		"compressed with zstd":                          {0x28, 0xb5, 0x2f, 0xfd, 0},
		"compressed with gzip twice":                    gzipped(t, gzipped(t, []byte("x"))),
		"not readable as gzip":                          {0x1f, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0},
		"neither pcap nor pcapng (it begins with 23 21": []byte("#!/bin/sh\n"),
	} {
		_, err := NewReader("some.pcap", bytes.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), strings.TrimRight(text, " ")) || !strings.Contains(err.Error(), "some.pcap") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// Reading allocates nothing per packet.
func TestNoAllocation(t *testing.T) {
	c := classic(binary.LittleEndian, false, traffic.LinkEthernet)
	n := ng(binary.LittleEndian).iface(traffic.LinkEthernet, 0)
	for range 1200 {
		c.record(want{Time: noon, Wire: 60, Data: "some packet"}, 1000)
		n.enhanced(0, 1, want{Wire: 60, Data: "some packet"})
	}
	for _, b := range []*builder{c, n} {
		r, err := NewReader("test", bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		var p Packet
		if a := testing.AllocsPerRun(1000, func() {
			if err := r.Next(&p); err != nil {
				t.Fatal(err)
			}
		}); a != 0 {
			t.Errorf("%v allocations a packet", a)
		}
	}
}

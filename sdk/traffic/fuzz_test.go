package traffic

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the committed fuzz corpus")

// TestFuzzCorpus holds the committed corpus to the hand-made shapes.
func TestFuzzCorpus(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzParse")
	shapes := append(benchShapes(),
		shape{"FiveTags", ethernet(etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherVLAN, tagged(1, etherIPv4))))))},
		shape{"IPv6Extensions", ethernet(etherIPv6, ipv6Packet(extHopByHop, extension(extAuth, 1), authHeader(ProtoTCP), tcpSegment(1, 2, FlagRST)))},
		shape{"IPv6LongChain", ethernet(etherIPv6, ipv6Packet(extOptions, chain(MaxExtensions+1, ProtoUDP)))},
		shape{"IPv4Options", ethernet(etherIPv4, ipv4Packet(ProtoICMP, 0x2000, make([]byte, 40), []byte{8, 0}))},
	)
	for _, c := range tunnelledFrames() {
		shapes = append(shapes, shape{"tunnel_" + strings.NewReplacer(" ", "_", ",", "").Replace(c.name), c.frame})
	}
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range shapes {
		name := filepath.Join(dir, s.name)
		want := fmt.Sprintf("go test fuzz v1\nuint16(1)\n[]byte(%q)\nint(%d)\n", s.frame, len(s.frame))
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s does not hold the shape of that name (%v); run go test -update", name, err)
		}
	}
}

// FuzzParse: no frame of any link type crashes the parser, and what it
// accepts is defined and does not depend on what the slot held before.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, link uint16, frame []byte, wire int) {
		var several [MaxTunnels]Record
		both := decapsulating(Both)
		var outer Record
		o := both.Frame(&outer, LinkType(link), frame, wire)
		if n := both.More(several[:], LinkType(link), frame, wire); n > 0 && o != OK {
			t.Fatalf("%v, and yet %d packets inside", o, n)
		}
		for _, p := range []Parser{{}, {LengthFromFrame: true}, *decapsulating(Inner)} {
			stale, clean := dirty(), Record{}
			o := p.Frame(&stale, LinkType(link), frame, wire)
			if again := p.Frame(&clean, LinkType(link), frame, wire); again != o {
				t.Fatalf("outcome %v, then %v", o, again)
			}
			if int(o) >= Outcomes {
				t.Fatalf("outcome %d", o)
			}
			if o != OK {
				continue
			}
			if stale != clean {
				t.Fatalf("what the slot held shows:\n%+v\n%+v", stale, clean)
			}
			if clean.Packets != 1 || clean.Sampling != 1 || clean.Bytes < ipv4Header {
				t.Fatalf("record %+v", clean)
			}
			if !clean.IsIPv6() && (clean.Src != mappedAddr(clean.Src) || clean.Dst != mappedAddr(clean.Dst)) {
				t.Fatalf("IPv4 addresses not mapped: %+v", clean)
			}
			if clean.Marks&MarkLater != 0 && (clean.Marks&MarkFragment == 0 || clean.SrcPort|clean.DstPort != 0) {
				t.Fatalf("later fragment %+v", clean)
			}
		}
	})
}

// mappedAddr keeps the IPv4 part of an address and maps it.
func mappedAddr(a [16]byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: a[12], 13: a[13], 14: a[14], 15: a[15]}
}

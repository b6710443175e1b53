package afpacket

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestParseProgram(t *testing.T) {
	for _, text := range []string{"2\n40 0 0 12\n6 0 0 262144\n", "2,40 0 0 12,6 0 0 0x40000", " 2 , 40 0 0 12 ,\n6 0 0 262144,"} {
		p, err := ParseProgram(text)
		want := Program{{Code: 40, K: 12}, {Code: 6, K: 262144}}
		if err != nil || !slices.Equal(p, want) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for text, why := range map[string]string{
		"": "number of its instructions", "0": "1 to", "1,6 0 0": "four numbers", "1,6 0 256 0": "8 bits", "1,5 0 0 0": "jumps",
		"2,6 0 0 0": "there are 1", "1,6 0 0 -1": "32 bits", "5000": "1 to 4096", "1,0 0 0 0": "return",
	} {
		if _, err := ParseProgram(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

// The program that the kernel gets is right whatever the filter is.
func TestProgram(t *testing.T) {
	filter := Program{{Code: 40, K: 12}, {Code: 0x15, JT: 0, JF: 1, K: 0x800}, {Code: 6, K: 99}, {Code: 6}}
	for _, o := range []Options{{}, {Filter: filter}, {Direction: Transmit, Filter: filter}, {Sampling: 100}, {Direction: Transmit, Sampling: 7, Filter: filter}} {
		o.normal()
		p := o.program(traffic.LinkEthernet)
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		keeps := 0
		for _, in := range p {
			if in.Code == retK && in.K == DefaultSnapLength {
				keeps++
			}
		}
		if keeps != 1 {
			t.Errorf("%+v: %v does not keep %d octets", o, p, DefaultSnapLength)
		}
	}
}

// A super-frame counts as what it was on the wire.
func TestSegments(t *testing.T) {
	const mss = 1448
	for _, c := range []struct {
		name              string
		kind              uint8
		l2, ip, transport int
		segments, last    int
	}{
		{"v4 tcp", vnetGSOTCP4, 14, 20, 32, 10, mss},
		{"v6 tcp, a short last one", vnetGSOTCP6, 18, 40, 20, 3, 1},
		{"ecn", vnetGSOTCP4 | 0x80, 14, 20, 32, 2, 700},
		{"udp", vnetGSOUDPL4, 14, 20, 8, 5, 100},
	} {
		header := c.l2 + c.ip + c.transport
		wire := header + (c.segments-1)*mss + c.last
		frame := make([]byte, header)
		frame[c.l2+c.ip+min(12, c.transport-1)] = byte(c.transport/4) << 4
		var v [vnetSize]byte
		v[0], v[1] = vnetNeedsChecksum, c.kind
		binary.NativeEndian.PutUint16(v[4:], mss)
		binary.NativeEndian.PutUint16(v[6:], uint16(c.l2+c.ip))
		for _, byFrame := range []bool{false, true} {
			r := traffic.Record{Packets: 1, Bytes: uint64(wire - c.l2)}
			want := uint64(c.segments*(c.ip+c.transport) + (c.segments-1)*mss + c.last)
			if byFrame {
				r.Bytes = uint64(wire)
				want += uint64(c.segments * c.l2)
			}
			super := readSuperFrame(&v, frame)
			super.apply(&r, wire, byFrame)
			if r.Packets != uint64(c.segments) || r.Bytes != want {
				t.Errorf("%s: %d packets, %d octets, want %d and %d", c.name, r.Packets, r.Bytes, c.segments, want)
			}
		}
	}
	// What makes no sense changes nothing.
	for _, v := range [][vnetSize]byte{{0, 1, 0, 0, 0, 1}, {1, 1}, {1, 1, 0, 0, 1, 1, 255, 255}, {1, 9, 0, 0, 1, 1}} {
		r := traffic.Record{Packets: 1, Bytes: 100}
		super := readSuperFrame(&v, make([]byte, 60))
		if super.apply(&r, 100, false); r.Packets != 1 || r.Bytes != 100 {
			t.Errorf("%v: %+v", v, r)
		}
	}
}

func TestNames(t *testing.T) {
	if got := absent("eht0", []string{"lo", "eth0", "eth1"}); !strings.Contains(got, `did you mean "eth0"?`) || !strings.HasSuffix(got, "eth0, eth1, lo") {
		t.Error(got)
	}
	if got := absent("mirror", []string{"lo"}); strings.Contains(got, "mean") {
		t.Error(got)
	}
	if got := parseCPUs("0-2,5\n"); !slices.Equal(got, []int{0, 1, 2, 5}) {
		t.Error(got)
	}
	if parseCPUs("3-1") != nil || parseCPUs("x") != nil {
		t.Error("nonsense was read")
	}
	for name, good := range map[string]bool{"eth0": true, "": false, "a/b": false, "..": false, "sixteen-octets-x": false, "enp3s0f1np1": true} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

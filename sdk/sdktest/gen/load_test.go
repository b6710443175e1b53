package gen

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var testBursts = Bursts{PPS: 3000, Length: 300 * time.Millisecond, Every: 3 * time.Second}

// A pace keeps its average, is never above the bursts' rate, has them no
// longer than they are, and says the same in both ways of asking.
func TestPace(t *testing.T) {
	const pps, step = 800, 50 * time.Millisecond
	p, err := NewPace(pps, testBursts, 1)
	if err != nil {
		t.Fatal(err)
	}
	last, longest, run := 0.0, 0, 0
	const length = 6000 * time.Second
	for at := step; at <= length; at += step {
		due := p.Due(at)
		rate := (due - last) / step.Seconds()
		if last = due; rate > testBursts.PPS+1e-6 || rate < 555 {
			t.Fatalf("%v: %.0f packets a second", at, rate)
		}
		run++
		if rate < testBursts.PPS-1e-6 {
			run = 0
		}
		longest = max(longest, run)
	}
	if average := last / length.Seconds(); math.Abs(average/pps-1) > 0.01 || longest < 5 || longest > 6 {
		t.Errorf("average %.1f, longest burst %v", average, time.Duration(longest)*step)
	}
	due, err := NewPace(pps, testBursts, 2)
	if err != nil {
		t.Fatal(err)
	}
	at, err := NewPace(pps, testBursts, 2)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0.5; n < 10000; n += 3.7 {
		if got := due.Due(at.At(n)); math.Abs(got-n) > 1e-4 {
			t.Fatalf("packet %v is due at a time by which %v are", n, got)
		}
	}
}

// Loads have their rates in both directions, their bursts together, and are
// what a parser makes of them.
func TestLoads(t *testing.T) {
	for _, info := range Uses() {
		for _, host := range []netip.Addr{target4, target6} {
			for _, d := range []Direction{Incoming, Outgoing} {
				load := Load{Use: info.Use, Host: host, Direction: d, Start: time.Second, PPS: 800, Bursts: testBursts}
				s := &Scenario{Seed: 5, Duration: 25 * time.Second, Networks: everything().Networks, Loads: []Load{load}}
				var parser traffic.Parser
				n := map[bool]int{}
				ticks := map[bool]map[int64]int{false: {}, true: {}}
				collect(t, s, func(p *Packet) {
					var got traffic.Record
					o := parser.Ethernet(&got, p.Frame, len(p.Frame))
					got.Time = p.Time
					if o != traffic.OK || got != p.Record {
						t.Fatalf("%s: %v\nparsed %+v\n truth %+v", info.Use, o, got, p.Record)
					}
					in := got.DstAddr() == host
					if !in && got.SrcAddr() != host {
						t.Fatalf("%s of %v: a packet from %v to %v", info.Use, host, got.SrcAddr(), got.DstAddr())
					}
					n[in]++
					ticks[in][p.Time/1e8]++
				})
				heavy := d == Incoming
				back := int(800 * 24 * uses[info.Use].back)
				if !within(n[heavy], 800*24, 0.03) || !within(n[!heavy], float64(back), 0.03) {
					t.Errorf("%s %s: %d and %d packets, want about %d and %d", info.Use, d, n[heavy], n[!heavy], 800*24, back)
				}
				high, most := 0, 0
				for _, packets := range ticks[heavy] {
					most = max(most, packets)
					if packets > 290 {
						high++
					}
				}
				if most > 302 || high < 10 || high > 40 {
					t.Errorf("%s %s: ticks of up to %d packets, %d of them full", info.Use, d, most, high)
				}
			}
		}
	}
}

// What was recorded is played at another rate to another address, its
// checksums right.
func TestPlayback(t *testing.T) {
	made := &Scenario{
		Seed: 3, Duration: time.Second, Networks: everything().Networks,
		Attacks: []Attack{{Kind: SYNFlood, Target: target4, PPS: 50}, {Kind: DNSAmplification, Target: target4, PPS: 60}, {Kind: ICMPFlood, Target: target6, PPS: 10}},
	}
	var frames [][]byte
	collect(t, made, func(p *Packet) { frames = append(frames, append([]byte(nil), p.Frame...)) })
	r, err := NewRecording(frames, netip.PrefixFrom(target4, 32), Incoming)
	if err != nil || r.Len() != 110 {
		t.Fatalf("%v, %d frames, want 110", err, r.Len())
	}
	if _, err := NewRecording(frames, netip.PrefixFrom(target4, 32), Outgoing); err == nil || !strings.Contains(err.Error(), "none of 120 frames") {
		t.Errorf("no frame is outgoing, but %v", err)
	}
	for _, to := range []string{"198.18.7.9/32", "198.18.7.0/24"} {
		s := &Scenario{
			Seed: 1, Duration: 2 * time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")},
			Played: []Playback{{Recording: r, Skip: 100, To: netip.MustParsePrefix(to), PPS: 300}},
		}
		want := netip.MustParseAddr("198.18.7.9")
		if strings.HasSuffix(to, "/24") {
			want = netip.MustParseAddr("198.18.7.10") // the last octet stays
		}
		n := 0
		collect(t, s, func(p *Packet) {
			if p.Record.DstAddr() != want || p.Record.Protocol != r.frameProtocol((100+n)%r.Len()) {
				t.Fatalf("frame %d: %+v", n, p.Record)
			}
			n++
			checkIPv4(t, p.Frame, p.Record.Marks&traffic.MarkFragment != 0)
		})
		if n != 600 {
			t.Errorf("%d frames played, want 600", n)
		}
	}
}

func (r *Recording) frameProtocol(i int) uint8 { return r.frames[i][etherHeader+9] }

// checkIPv4 recomputes the header's checksum and, of whole packets, the
// transport's.
func checkIPv4(t *testing.T, f []byte, fragment bool) {
	t.Helper()
	ip := f[etherHeader:]
	ip = ip[:binary.BigEndian.Uint16(ip[2:])]
	if sum := fold(add(0, ip[:header4])); sum != 0 {
		t.Fatalf("IP checksum off by %x", sum)
	}
	if fragment {
		return
	}
	sum := uint64(ip[9]) + uint64(len(ip)-header4)
	if got := fold(add(add(sum, ip[12:header4]), ip[header4:])); got != 0 {
		t.Fatalf("transport checksum off by %x: % x", got, ip)
	}
}

func TestLoadsAndPlaybacksRefuse(t *testing.T) {
	s := func(change func(s *Scenario)) *Scenario {
		s := everything()
		s.Attacks, s.Benign.PPS = nil, 0
		change(s)
		return s
	}
	load := func(change func(l *Load)) *Scenario {
		l := Load{Use: Backup, Host: target4, PPS: 800, Bursts: testBursts}
		change(&l)
		return s(func(s *Scenario) { s.Loads = []Load{l} })
	}
	r := &Recording{frames: make([][]byte, 1)}
	play := func(p Playback) *Scenario { return s(func(s *Scenario) { s.Played = []Playback{p} }) }
	to := netip.PrefixFrom(target4, 32)
	for want, s := range map[string]*Scenario{
		"the uses are [backup cdn_fill": load(func(l *Load) { l.Use = "knitting" }),
		"no host":                       load(func(l *Load) { l.Host = netip.Addr{} }),
		"the host is in none of the":    load(func(l *Load) { l.Host = netip.MustParseAddr("198.51.100.1") }),
		`direction "up"`:                load(func(l *Load) { l.Direction = "up" }),
		"at least half of the time":     load(func(l *Load) { l.Bursts.Every = 500 * time.Millisecond }),
		"are below the average of 800":  load(func(l *Load) { l.Bursts.PPS = 700 }),
		"more than the average of 800":  load(func(l *Load) { l.Bursts.PPS = 9000 }),
		"a recording is needed":         play(Playback{To: to, PPS: 1}),
		"an IPv4 address or prefix":     play(Playback{Recording: r, To: netip.PrefixFrom(target6, 128), PPS: 1}),
		"it is in none of the networks": play(Playback{Recording: r, To: netip.MustParsePrefix("198.51.100.1/32"), PPS: 1}),
		"0 packets a second":            play(Playback{Recording: r, To: to}),
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

package corpus

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var options = Options{Seed: 1, Each: 3, Limit: 100, Prefix: 1000, Average: time.Second, Linger: 500 * time.Millisecond}

// Every packet belongs to one instance, which has as many as it says.
func TestPackets(t *testing.T) {
	r, err := gen.NewRecording(someFrames(t), ours, gen.Incoming)
	if err != nil {
		t.Fatal(err)
	}
	o := options
	o.Recorded = Recordings{string(gen.SYNFlood): {{Origin: "tool", In: r}}, string(gen.VPN): {{Origin: "tool", In: r}}}
	for _, c := range []*Corpus{Attacks(o), Ordinary(o, 0.8, 10*time.Second)} {
		blocks := map[netip.Prefix]*Instance{}
		packets := map[string]float64{}
		for n := range c.Instances {
			i := &c.Instances[n]
			block, _ := i.Target.Addr().Prefix(i.Target.Addr().BitLen() - 8)
			if blocks[block] != nil {
				t.Errorf("%s and %s share %v", i.Name, blocks[block].Name, block)
			}
			blocks[block] = i
		}
		err := c.Scenario.Packets(func(p *gen.Packet) bool {
			i := instance(blocks, p.Record.DstAddr(), gen.Incoming)
			if i == nil {
				i = instance(blocks, p.Record.SrcAddr(), gen.Outgoing)
			}
			if i != nil {
				packets[i.Name]++
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range blocks {
			limit := options.Limit
			if !i.Target.IsSingleIP() {
				limit = options.Prefix
			}
			want := i.Multiple * limit * i.Duration.Seconds()
			if i.Base > 0 {
				want += i.Base * limit * (leadIn + i.Duration).Seconds()
			}
			if got := packets[i.Name]; got < 0.85*want || got > 1.15*want { // bursts fall as they do
				t.Errorf("%s: %v packets, want about %.0f", i.Name, got, want)
			}
		}
	}
}

func instance(blocks map[netip.Prefix]*Instance, a netip.Addr, d gen.Direction) *Instance {
	block, _ := a.Prefix(a.BitLen() - 8)
	if i := blocks[block]; i != nil && i.Direction == d && i.Target.Contains(a) {
		return i
	}
	return nil
}

func someFrames(t *testing.T) (frames [][]byte) {
	t.Helper()
	s := gen.Scenario{
		Seed: 1, Duration: time.Second, Networks: []netip.Prefix{ours},
		Attacks: []gen.Attack{{Kind: gen.UDPFlood, Target: netip.MustParseAddr(ourHost), PPS: 50}},
	}
	if err := s.Packets(func(p *gen.Packet) bool { frames = append(frames, append([]byte(nil), p.Frame...)); return true }); err != nil {
		t.Fatal(err)
	}
	return frames
}

func TestLabels(t *testing.T) {
	for kind, want := range map[gen.Kind]string{
		gen.SYNFlood: "syn_flood", gen.SYNACKReflection: "syn_ack_reflection", gen.FragmentFlood: "fragmentation",
		gen.DNSAmplification: "dns_reflection", gen.ISAKMPReflection: "isakmp_reflection", gen.Carpet: "carpet", gen.Mixed: "mixed",
	} {
		if got := Label(kind); got != want {
			t.Errorf("%s is labelled %s, want %s", kind, got, want)
		}
	}
}

// What the tools send is what their class says.
func TestRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("foreign tools are run for some seconds")
	}
	fixtures := sdktest.Fixtures(t, "")
	if missing := Missing(); len(missing) > 0 || os.Geteuid() != 0 {
		sdktest.Absent(t, fmt.Sprintf("foreign tools cannot be run: missing %v, user %d", missing, os.Geteuid()))
	}
	recorded, err := Record(context.Background(), fixtures)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range gen.Kinds() {
		if len(recorded[string(k.Kind)]) == 0 {
			t.Errorf("no recording of %s", k.Kind)
		}
		for _, r := range recorded[string(k.Kind)] {
			checkRecording(t, k.Kind, r)
		}
	}
}

// checkRecording holds a recording against what gen makes of the same kind:
// most packets have protocol, flags and source port of it.
func checkRecording(t *testing.T, kind gen.Kind, r *Recorded) {
	t.Helper()
	type feature struct {
		proto, flags uint8
		port         uint16
		fragment     bool
	}
	of := func(p *gen.Packet) feature {
		f := feature{proto: p.Record.Protocol, flags: p.Record.TCPFlags, fragment: p.Record.Marks&traffic.MarkFragment != 0}
		if p.Record.SrcPort < 32768 {
			f.port = p.Record.SrcPort
		}
		if kind == gen.UDPFlood || kind == gen.Carpet || kind == gen.Mixed || kind == gen.FragmentFlood || f.proto == traffic.ProtoTCP && kind != gen.SYNACKReflection {
			f.port = 0
		}
		switch {
		case kind == gen.DNSAmplification && f.port == 53: // later fragments have no ports
			f.port = 0
		case kind == gen.ISAKMPReflection && f.port == 4500: // the real one comes from the port for NAT (RFC 3948)
			f.port = 500
		}
		return f
	}
	host := netip.MustParseAddr("10.0.0.9")
	base := gen.Scenario{Seed: 1, Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
	made, played := base, base
	made.Attacks = []gen.Attack{{Kind: kind, Target: host, PPS: 400}}
	played.Played = []gen.Playback{{Recording: r.In, To: netip.PrefixFrom(host, 24), PPS: 400}}
	features := map[feature]bool{}
	if err := made.Packets(func(p *gen.Packet) bool { features[of(p)] = true; return true }); err != nil {
		t.Fatal(err)
	}
	same, all, example := 0, 0, feature{}
	if err := played.Packets(func(p *gen.Packet) bool {
		f := of(p)
		whole := f
		whole.fragment = !f.fragment // sizes differ: one fragments, the other does not
		if all++; features[f] || features[whole] {
			same++
		} else {
			example = f
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if float64(same) < 0.6*float64(all) {
		t.Errorf("%s by %s: %d of %d packets are as they should be; one is %+v, of %+v", kind, r.Origin, same, all, example, features)
	}
}

func TestQuote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	const before, mark, end, after = "# It\n\n", "<!-- report delays: written by make report -->\n", "<!-- end of report delays -->", "\n\nMore.\n"
	if err := os.WriteFile(path, []byte(before+mark+"old\n"+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "OTHER.md")
	if err := os.WriteFile(other, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Quote(other+" "+path, "delays", "| new |\n\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := before + mark + "| new |\n" + end + after; err != nil || string(got) != want {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	if err := Quote(path, "others", "x"); err == nil {
		t.Error("marks that are not there were found")
	}
}

// The harsher model keeps to its rate, and its packets never go back.
func TestRough(t *testing.T) {
	const limit = 500
	r := NewRough(limit, 3)
	last := 0.0
	const length = 2 * time.Hour
	for at := 50 * time.Millisecond; at <= length; at += 50 * time.Millisecond {
		due := r.Due(at)
		if due < last {
			t.Fatalf("%v: %v packets are due, before it were %v", at, due, last)
		}
		last = due
	}
	if average := last / length.Seconds() / limit; average < 0.28 || average > 0.36 {
		t.Errorf("%.2f × the limit on average", average)
	}
}

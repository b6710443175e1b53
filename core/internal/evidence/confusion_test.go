package evidence

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64")}

// seen is how a capture sees an attack.
type seen string

const (
	packets seen = "packets"
	sampled seen = "1:50" // sampled headers
	flows   seen = "flows"
)

// sides are the counters that a label looks at.
var sides = []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented"}

// window is over how long a target is looked at.
const window = 1500 * time.Millisecond

// observer makes what is known of a target soon after something began.
type observer struct {
	target netip.Addr
	begin  time.Time
	in     map[seen]*Input
	rates  [2]map[string]sdk.CounterRate
	rng    *rand.Rand
	flows  map[flowKey]*traffic.Record
	order  []flowKey
}

type flowKey struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
	later        bool
	second       int // the exporter's active timeout
}

func observe(t testing.TB, s *gen.Scenario, target netip.Addr, direction string, from time.Duration) map[seen]*Input {
	t.Helper()
	o := &observer{
		target: target, begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(from), in: map[seen]*Input{},
		rng: rand.New(rand.NewPCG(9, 9)), flows: map[flowKey]*traffic.Record{},
	}
	o.rates[0], o.rates[1] = map[string]sdk.CounterRate{}, map[string]sdk.CounterRate{}
	for _, as := range []seen{packets, sampled, flows} {
		o.in[as] = &Input{Event: sdk.Event{ID: "x", Target: netip.PrefixFrom(target, target.BitLen()), Direction: direction, Started: o.begin}, Dump: 100}
		o.in[as].Event.Scope = "host"
	}
	if err := s.Packets(func(p *gen.Packet) bool { return o.take(p, direction) }); err != nil {
		t.Fatal(err)
	}
	for _, k := range o.order[:min(800, len(o.order))] {
		o.in[flows].Samples = append(o.in[flows].Samples, sample(o.flows[k], nil, o.begin))
	}
	for _, in := range o.in {
		for d, to := range []*[]sdk.CounterRate{&in.Event.Incoming, &in.Event.Outgoing} {
			for _, name := range sides {
				r := o.rates[d][name]
				*to = append(*to, sdk.CounterRate{Counter: name, PPS: r.PPS / window.Seconds(), BPS: r.BPS / window.Seconds()})
			}
		}
	}
	return o.in
}

// take counts a packet, and samples those of the direction.
func (o *observer) take(p *gen.Packet, direction string) bool {
	d, r, at := 0, p.Record, time.Unix(0, p.Time)
	switch {
	case o.target == r.SrcAddr():
		d = 1
	case o.target != r.DstAddr():
		return true
	}
	since := at.Sub(o.begin)
	if since < 0 || since > window {
		return since < 0
	}
	for _, name := range sides {
		if counts(&r, name) {
			sum := o.rates[d][name]
			o.rates[d][name] = sdk.CounterRate{PPS: sum.PPS + 1, BPS: sum.BPS + 8*float64(r.Bytes)}
		}
	}
	if (d == 0) != (direction == "incoming") {
		return true
	}
	if in := o.in[packets]; len(in.Samples) < min(100, 25*(1+int(since/(100*time.Millisecond)))) {
		in.Samples = append(in.Samples, sample(&r, p.Frame, at))
	}
	if in := o.in[sampled]; len(in.Samples) < 100 && o.rng.IntN(50) == 0 {
		x := r
		x.Packets, x.Bytes, x.Sampling = 50, 50*r.Bytes, 50
		in.Samples = append(in.Samples, sample(&x, p.Frame[:min(128, len(p.Frame))], at))
	}
	o.flow(&r, int(since/time.Second))
	return true
}

// flow adds a packet to its flow record.
func (o *observer) flow(r *traffic.Record, second int) {
	k := flowKey{r.SrcAddr(), r.DstAddr(), r.SrcPort, r.DstPort, r.Protocol, r.Marks&traffic.MarkLater != 0, second}
	f := o.flows[k]
	if f == nil {
		f = &traffic.Record{}
		*f = *r
		f.Marks |= traffic.MarkFlow
		f.Packets, f.Bytes = 0, 0
		o.flows[k], o.order = f, append(o.order, k)
	}
	f.TCPFlags |= r.TCPFlags
	f.Packets, f.Bytes = f.Packets+1, f.Bytes+r.Bytes
}

func counts(r *traffic.Record, counter string) bool {
	switch counter {
	case "total":
		return true
	case "tcp":
		return r.Protocol == traffic.ProtoTCP
	case "udp":
		return r.Protocol == traffic.ProtoUDP
	case "icmp":
		return r.Protocol == traffic.ProtoICMP || r.Protocol == traffic.ProtoICMPv6
	case "tcp_syn":
		return r.Protocol == traffic.ProtoTCP && r.TCPFlags&(syn|ack) == syn
	}
	return r.Marks&traffic.MarkFragment != 0
}

func sample(r *traffic.Record, frame []byte, at time.Time) sdk.Sample {
	return sdk.Sample{
		Time: at, Link: 1, Data: bytes.Clone(frame), WireLen: len(frame), Record: bytes.Clone(traffic.Bytes([]traffic.Record{*r})),
	}
}

// instances are the attacks of the corpus: every kind, both families and
// directions, at twice a limit of 2,000 packets a second, among a host's
// ordinary traffic of 0.3 of it.
func instances(yield func(kind gen.Kind, target netip.Addr, direction gen.Direction, s *gen.Scenario)) {
	for seed, name := range gen.KindNames() {
		for _, target := range []string{"203.0.113.1", "2001:db8::1"} {
			for _, direction := range []gen.Direction{gen.Incoming, gen.Outgoing} {
				addr := netip.MustParseAddr(target)
				yield(gen.Kind(name), addr, direction, &gen.Scenario{
					Seed: uint64(seed), Duration: 3 * time.Second, Networks: networks, Hosts: 2,
					Benign:  gen.Benign{PPS: 1200, IPv6: 0.5, Even: true},
					Attacks: []gen.Attack{{Kind: gen.Kind(name), Target: addr, Direction: direction, Start: time.Second, Duration: 2 * time.Second, PPS: 4000}},
				})
			}
		}
	}
}

// TestConfusion labels the whole corpus, as packets, samples and flow records,
// and prints what became of it.
func TestConfusion(t *testing.T) {
	results, right, all := map[seen]corpus.Confusion{}, map[seen]int{}, 0
	instances(func(kind gen.Kind, target netip.Addr, direction gen.Direction, s *gen.Scenario) {
		if kind == gen.Carpet {
			return // it is told of a prefix
		}
		all++
		for as, in := range observe(t, s, target, string(direction), 1300*time.Millisecond) {
			f := Analyse(in)
			if results[as] == nil {
				results[as] = corpus.Confusion{}
			}
			results[as].Add(string(kind), f.Label)
			if f.Label == corpus.Label(kind) {
				right[as]++
			} else if f.Report != nil {
				t.Logf("%s %v %s as %s: %s, %v", kind, target, direction, as, f.Label, f.Report.Reasons)
			}
		}
	})
	for as, m := range results {
		t.Logf("%s: %d of %d right\n%s", as, right[as], all, m.String())
		if float64(right[as]) < 0.95*float64(all) {
			t.Errorf("%s: %d of %d attacks are labelled right, want 95 %%", as, right[as], all)
		}
	}
}

// A limit of a wider scope that many hosts have crossed together is a carpet,
// one that a single host has filled is what that one gets.
func TestCarpet(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.1")
	for kind, want := range map[gen.Kind]string{gen.Carpet: labelCarpet, gen.SSDPAmplification: "ssdp_reflection"} {
		s := &gen.Scenario{
			Seed: 1, Duration: time.Second, Networks: networks,
			Attacks: []gen.Attack{{Kind: kind, Target: addr, PPS: 2000}},
		}
		in := &Input{Event: attackEvent(), Dump: 10}
		in.Event.Scope, in.Event.Target = "prefix", netip.MustParsePrefix("203.0.113.0/24")
		if err := s.Packets(func(p *gen.Packet) bool {
			in.Samples = append(in.Samples, sample(&p.Record, p.Frame, time.Unix(0, p.Time)))
			return len(in.Samples) < 100
		}); err != nil {
			t.Fatal(err)
		}
		f := Analyse(in)
		if f.Label != want || want == labelCarpet && (len(f.Report.Parts) != 1 || f.Report.Parts[0].Label != labelUDP) {
			t.Errorf("%s: %s %v, %v", kind, f.Label, f.Report.Parts, f.Report.Reasons)
		}
		if label, _, _ := FromCounters(&in.Event); label != labelCarpet {
			t.Errorf("by counters it is %s", label)
		}
	}
}

// TestBenign holds ordinary loads at twice a limit against the labels: none is
// a reflection.
func TestBenign(t *testing.T) {
	results := map[seen]corpus.Confusion{}
	for n, use := range gen.Uses() {
		for _, target := range []string{"203.0.113.1", "2001:db8::1"} {
			for _, direction := range []gen.Direction{gen.Incoming, gen.Outgoing} {
				addr := netip.MustParseAddr(target)
				s := &gen.Scenario{
					Seed: uint64(n), Duration: 3 * time.Second, Networks: networks, Hosts: 2, Benign: gen.Benign{PPS: 100, IPv6: 0.5, Even: true},
					Loads: []gen.Load{{Use: use.Use, Host: addr, Direction: direction, PPS: 4000}},
				}
				for as, in := range observe(t, s, addr, string(direction), 1300*time.Millisecond) {
					f := Analyse(in)
					if results[as] == nil {
						results[as] = corpus.Confusion{}
					}
					results[as].Add(string(use.Use), f.Label)
					if reflects(f) {
						t.Errorf("%s %v %s as %s is called %s: %v", use.Use, addr, direction, as, f.Label, f.Report.Reasons)
					}
				}
			}
		}
	}
	for as, m := range results {
		t.Logf("%s\n%s", as, m.String())
	}
}

// reflects reports whether a reflection is part of a label.
func reflects(f Finding) bool {
	if f.Label == labelMixed {
		for _, p := range f.Report.Parts {
			if strings.HasSuffix(p.Label, "_reflection") {
				return true
			}
		}
	}
	return strings.HasSuffix(f.Label, "_reflection")
}

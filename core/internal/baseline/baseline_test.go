package baseline

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Quantiles are at most 9.1 % above those of the sorted values, never below,
// and merging changes nothing.
func TestHist(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() float64{
		"uniform":     func() float64 { return 1 + rng.Float64()*1e6 },
		"exponential": func() float64 { return 1 + rng.ExpFloat64()*3000 },
		"heavy":       func() float64 { return math.Pow(rng.Float64(), -1.5) },
		"constant":    func() float64 { return 12345 },
	} {
		var all []float64
		var whole, left, right Hist
		for i := range 20000 {
			v := draw()
			all = append(all, v)
			whole.Add(v)
			if i%3 == 0 {
				left.Add(v)
			} else {
				right.Add(v)
			}
		}
		left.Merge(&right)
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
			got := whole.Quantile(q)
			if got < exact*(1-1e-9) || got > exact*1.091 {
				t.Errorf("%s: quantile %v is %v, exactly %v", name, q, got, exact)
			}
			if left.Quantile(q) != got {
				t.Errorf("%s: merged, quantile %v is %v, not %v", name, q, left.Quantile(q), got)
			}
		}
		if whole.Max() != all[len(all)-1] || whole.N() != 20000 || len(whole.buckets) > largest {
			t.Errorf("%s: largest %v, %d values, %d buckets", name, whole.Max(), whole.N(), len(whole.buckets))
		}
		above := 0
		for _, v := range all {
			if v > 5000 {
				above++
			}
		}
		if n := whole.Above(5000); n > uint64(above) || above > 0 && n == 0 {
			t.Errorf("%s: %d above, exactly %d", name, n, above)
		}
	}
	var h Hist
	for _, v := range []float64{0, 0.3, 1, math.MaxFloat64, math.Inf(1), math.NaN()} {
		h.Add(v)
	}
	if h.N() != 6 || h.Quantile(0.1) > 1 {
		t.Errorf("odd values: %+v", h)
	}
}

func TestRoundUp(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 0.2: 1, 7: 7, 10: 10, 10.5: 11, 99: 99, 101: 110, 1370: 1400, 45001: 46000, 2e6: 2e6} {
		if got := RoundUp(v); got != want {
			t.Errorf("%v is rounded up to %v, not %v", v, got, want)
		}
	}
}

// The upper bound for a Poisson mean: 3.00 for none, 4.74 for one, 16.96 for 10.
func TestExpect(t *testing.T) {
	for n, want := range map[uint64]float64{0: 3.00, 1: 4.74, 10: 16.96} {
		var l Limit
		l.expect(2, n)
		if got := l.AtMost * 2; math.Abs(got-want) > 0.05*want {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}

// host is the i-th address.
func host(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)
}

// fill makes a profile of hosts with rates: a second each for so many seconds.
func fill(hosts, seconds int, rate func(host, second int) float64) *Profile {
	p := NewProfile([]string{"total", "udp"})
	start := time.Unix(1_700_000_000, 0)
	for s := range seconds {
		for h := range hosts {
			v := rate(h, s)
			p.Add(&Sample{Group: "g", Host: host(h), Seconds: 1, Rates: []Rate{{Series{0, PPS, 0}, v}, {Series{1, PPS, 0}, v / 10}}})
		}
		p.AddTotal("g", start.Add(time.Duration(s)*time.Second), [2]bool{}, []Rate{{Series{0, PPS, 0}, float64(hosts) * rate(0, s)}})
		p.EndPass(start.Add(time.Duration(s)*time.Second), 1)
	}
	return p
}

func limitOf(t *testing.T, list []Threshold, name, unit string) *Limit {
	t.Helper()
	for i := range list {
		for j := range list[i].Limits {
			if list[i].Name == name && list[i].Limits[j].Unit == unit {
				return &list[i].Limits[j]
			}
		}
	}
	t.Fatalf("no limit %s %s in %+v", name, unit, list)
	return nil
}

func TestSuggest(t *testing.T) {
	// 40 hosts of 2,000 to 2,390 pps: the busiest decides.
	p := fill(40, 100, func(h, s int) float64 { return 2000 + 10*float64(h) })
	s := Suggest(p, []string{"g", "silent"})
	if len(s.Groups) != 1 || len(s.Groups[0].Own) != 0 || fmt.Sprint(s.Unseen) != "[silent]" || len(s.Thin) == 0 {
		t.Fatalf("%+v", s)
	}
	l := limitOf(t, s.Groups[0].Thresholds, "total_incoming", "pps")
	if l.Limit != 4800 || l.Busiest != host(39) || l.Rule != RuleBusiest || l.Samples != 4000 || l.Hosts != 40 || l.Fires != 0 {
		t.Errorf("%+v", l)
	}
	if days := 4000.0 / 86400; math.Abs(l.AtMost*days-3) > 0.1 {
		t.Errorf("at most %v a day in %v days", l.AtMost, days)
	}
	if u := limitOf(t, s.Groups[0].Thresholds, "udp_incoming", "pps"); u.Limit != 1000 || u.Rule != RuleFloor {
		t.Errorf("%+v", u)
	}
	if g := limitOf(t, s.Groups[0].Thresholds, "total_incoming_hostgroup", "pps"); g.Limit != 160000 || g.Rule != RuleGroup {
		t.Errorf("%+v", g)
	}
	// One value far above the others is what decides, if it is.
	p = fill(10, 2000, func(h, s int) float64 {
		if h == 3 && s == 700 {
			return 9000
		}
		return 2000
	})
	if l := limitOf(t, Suggest(p, []string{"g"}).Groups[0].Thresholds, "total_incoming", "pps"); l.Rule != RuleLargest || l.Limit != 12000 {
		t.Errorf("%+v", l)
	}
}

// A host far above all others has a group of its own; the others keep a limit
// that is worth something.
func TestStandsApart(t *testing.T) {
	p := fill(40, 100, func(h, _ int) float64 {
		if h == 7 {
			return 90000
		}
		return 2000 + float64(h)
	})
	g := Suggest(p, []string{"g"}).Groups[0]
	if len(g.Own) != 1 || g.Own[0].Host != host(7) || g.Own[0].Name != "g_203_0_0_7" {
		t.Fatalf("%+v", g.Own)
	}
	if l := limitOf(t, g.Own[0].Thresholds, "total_incoming", "pps"); l.Limit != 190000 && l.Limit != 180000 {
		t.Errorf("its own: %+v", l)
	}
	if l := limitOf(t, g.Thresholds, "total_incoming", "pps"); l.Limit > 4200 || l.Busiest != host(39) {
		t.Errorf("the others': %+v", l)
	}
	// Half of the hosts stand apart from nobody.
	p = fill(40, 100, func(h, _ int) float64 { return 2000 * math.Pow(100, float64(h%2)) })
	if own := Suggest(p, []string{"g"}).Groups[0].Own; len(own) != 0 {
		t.Errorf("%+v", own)
	}
}

// Directions with an open attack do not count, the other one does.
func TestAttacksAreLeftOut(t *testing.T) {
	p := NewProfile([]string{"total"})
	for i := range 1000 {
		attack := i >= 500
		v := 2000.0
		if attack {
			v = 1e6
		}
		p.Add(&Sample{
			Group: "g", Host: host(1), Seconds: 1, Open: [2]bool{attack, false},
			Rates: []Rate{{Series{0, PPS, 0}, v}, {Series{0, PPS, 1}, v}},
		})
	}
	p.EndPass(time.Unix(1, 0), 1000)
	g := Suggest(p, []string{"g"}).Groups[0]
	if l := limitOf(t, g.Thresholds, "total_incoming", "pps"); l.Limit != 4000 || g.Attacked[0] != 500 {
		t.Errorf("%+v, left out %v", l, g.Attacked)
	}
	if l := limitOf(t, g.Thresholds, "total_outgoing", "pps"); l.Limit != 2e6 {
		t.Errorf("%+v", l)
	}
}

// However many hosts come, the busiest are those that are kept one by one.
func TestHostsAreBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	p := NewProfile([]string{"total"})
	var rates []float64
	for range 3000 {
		rates = append(rates, 10+rng.ExpFloat64()*1000)
	}
	for range 5 {
		for h, v := range rates {
			p.Add(&Sample{Group: fmt.Sprint("g", h%3), Host: host(h), Seconds: 1, Rates: []Rate{{Series{0, PPS, 0}, v}}})
		}
		p.EndPass(time.Unix(1, 0), 1)
	}
	kept := 0
	for _, g := range p.Groups {
		kept += len(g.Hosts)
	}
	order := make([]int, len(rates))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rates[b], rates[a]) })
	missing := 0
	for _, h := range order[:50] {
		if p.Groups[fmt.Sprint("g", h%3)].Hosts[host(h)] == nil {
			missing++
		}
	}
	if kept != MaxHosts || missing > 0 {
		t.Errorf("%d hosts are kept, %d of the 50 busiest are missing", kept, missing)
	}
	for i := range 2 * MaxGroups {
		p.Add(&Sample{Group: fmt.Sprint("more", i), Host: host(1), Seconds: 1})
	}
	if len(p.Groups) != MaxGroups || !p.Full {
		t.Errorf("%d hostgroups, full %v", len(p.Groups), p.Full)
	}
}

// What is saved is read again; what is damaged is not.
func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json.gz")
	now := time.Unix(1_700_000_000, 0)
	r := NewRecorder(time.Hour)
	if err := r.Load(path, now); err != nil {
		t.Fatalf("no file is an error: %v", err)
	}
	r.Record(now, []string{"total", "udp"}, func(p *Profile) { *p = *fill(20, 50, func(h, _ int) float64 { return 2000 + float64(h) }) })
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	again := NewRecorder(time.Hour)
	if err := again.Load(path, now); err != nil {
		t.Fatal(err)
	}
	text := func(r *Recorder) string {
		b, err := json.Marshal(Suggest(r.Merged(now.Add(time.Minute)), []string{"g"}))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := text(r), text(again); a != b {
		t.Errorf("after a restart\n%s\nbefore\n%s", b, a)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"cut": data[:len(data)/2], "text": []byte("no gzip"), "empty": {}} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if again.Load(path, now) == nil {
			t.Errorf("%s: read", name)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The window moves: what is older is forgotten, in quarters.
func TestWindow(t *testing.T) {
	r := NewRecorder(8 * time.Hour)
	start := time.Unix(1_700_000_000, 0)
	for h := range 24 {
		now := start.Add(time.Duration(h) * time.Hour)
		r.Record(now, []string{"total"}, func(p *Profile) {
			p.Add(&Sample{Group: "g", Host: host(1), Seconds: 3600, Rates: []Rate{{Series{0, PPS, 0}, 100 * float64(h+1)}}})
			p.EndPass(now, 3600)
		})
	}
	p := r.Merged(start.Add(23 * time.Hour))
	if hours := p.Seconds / 3600; hours < 8 || hours > 11 {
		t.Errorf("%v hours are kept", hours)
	}
	if got := p.Groups["g"].All.Quantile(Series{0, PPS, 0}, 0.01); got < 1300 {
		t.Errorf("the least that is known is %v", got)
	}
}

// An hour's samples of a second take a second at most: what the daemon spends.
func BenchmarkAdd(b *testing.B) {
	p := NewProfile([]string{"total", "tcp", "udp"})
	s := &Sample{Group: "g", Seconds: 1}
	for c := range uint16(3) {
		for u := range FPS {
			s.Rates = append(s.Rates, Rate{Series{c, u, 0}, 1000}, Rate{Series{c, u, 1}, 1000})
		}
	}
	b.ReportAllocs()
	for i := range b.N {
		s.Host = host(i % 20000)
		for k := range s.Rates {
			s.Rates[k].Value = float64(100 + i*7919%100000)
		}
		p.Add(s)
	}
}

// FuzzLoad gives the reader of the state file anything: what it accepts it can
// work with.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"profiles":[{"counters":["total"],"seconds":9,"hostgroups":{"g":{"all":{"n":[9,9],"series":[{"max":5,"buckets":[[1,2],[7,7]]}]},"hosts":{"192.0.2.1/32":{"seconds":9}}}}}]}`))
	f.Add([]byte(`{"version":1,"profiles":[{"counters":[],"hostgroups":{"g":{"all":{"series":[{"counter":9}]}}}}]}`))
	f.Add([]byte(`{"version":2}`))
	path := filepath.Join(f.TempDir(), "baseline.json.gz")
	f.Fuzz(func(t *testing.T, data []byte) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r := NewRecorder(time.Hour)
		if r.Load(path, time.Now()) != nil {
			return
		}
		s := Suggest(r.Merged(time.Unix(0, 0)), []string{"g"})
		for name, text := range s.Blocks(func(string) []string { return nil }) {
			if name != "g" || text == "" {
				t.Fatalf("%q: %q", name, text)
			}
		}
	})
}

// What a profile of many busy hosts takes of memory.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rng := rand.New(rand.NewPCG(5, 6))
	p := NewProfile([]string{"total", "tcp", "udp", "icmp", "tcp_syn"})
	s := &Sample{Group: "g", Seconds: 1}
	for range 500 {
		for h := range 300 {
			s.Host, s.Rates = host(h), s.Rates[:0]
			for c := range uint16(5) {
				for u := range FPS {
					for d := range uint8(2) {
						s.Rates = append(s.Rates, Rate{Series{c, u, d}, 100 * math.Exp(rng.NormFloat64())})
					}
				}
			}
			p.Add(s)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if mb := float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20); mb > 4 {
		t.Errorf("%.1f MB for %d hosts", mb, MaxHosts)
	} else {
		t.Logf("%.1f MB", mb)
	}
	runtime.KeepAlive(p)
}

// A week has hours: those of which nothing is known are told.
func TestWeek(t *testing.T) {
	p := NewProfile([]string{"total"})
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for h := range 5 * 24 { // to Friday
		now := monday.Add(time.Duration(h) * time.Hour)
		v := 1000.0
		if now.Hour() == 20 {
			v = 3000 + float64(h)
		}
		p.Add(&Sample{Group: "g", Host: host(1), Seconds: 3600, Rates: []Rate{{Series{0, PPS, 0}, v}}})
		p.AddTotal("g", now, [2]bool{false, true}, []Rate{{Series{0, PPS, 0}, v}})
		p.EndPass(now, 3600)
	}
	path := filepath.Join(t.TempDir(), "baseline")
	r := NewRecorder(30 * 24 * time.Hour)
	r.Record(monday, nil, func(q *Profile) { *q = *p })
	again := NewRecorder(30 * 24 * time.Hour)
	if err := errors.Join(r.Save(path), again.Load(path, monday)); err != nil {
		t.Fatal(err)
	}
	s := Suggest(again.Merged(monday), []string{"g"})
	g := s.Groups[0]
	if len(s.Thin) != 0 || len(g.Week) != 120 || !strings.Contains(strings.Join(g.Thin, "; "), "Sat, Sun") {
		t.Errorf("%d hours, %v, %v", len(g.Week), s.Thin, g.Thin)
	}
	text := s.Blocks(func(string) []string { return nil })["g"]
	if !strings.Contains(text, "busiest hour Fri 20 UTC, up to 3116 pps") || !strings.Contains(text, "quietest Mon 00 UTC, up to 1000 pps") {
		t.Error(text)
	}
}

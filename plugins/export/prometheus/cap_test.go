package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// flood is a snapshot with n rows of everything, their labels at random.
func flood(r *rand.Rand, n int) sdk.Snapshot {
	name := func() string { return fmt.Sprintf("n%x", r.Uint64()) }
	direction := func() string { return []string{"incoming", "outgoing", name()}[r.IntN(3)] }
	var s sdk.Snapshot
	for range n {
		addr := netip.AddrFrom16([16]byte{0x20, 1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 15: byte(r.Uint32())})
		host := netip.PrefixFrom(addr, 128)
		counters := []sdk.CounterRate{{Counter: "total", PPS: r.ExpFloat64()}, {Counter: name(), PPS: 1}}
		s.Totals = append(s.Totals, sdk.TotalRate{Direction: direction(), Family: int(r.Uint32()), Counters: counters})
		s.Networks = append(s.Networks, sdk.ScopeRate{Name: name(), Direction: direction(), Counters: counters})
		s.Groups = append(s.Groups, sdk.ScopeRate{Name: name(), Direction: direction(), Counters: counters})
		s.Hosts = append(s.Hosts, sdk.HostRate{Host: host, Group: name(), Network: name(), Direction: direction(), Counters: counters})
		s.Attacks = append(s.Attacks, sdk.Event{ID: name(), Target: host, HostGroup: name(), Direction: direction(), AttackType: name(), PeakPPS: r.ExpFloat64()})
		s.Ledger = append(s.Ledger, sdk.LedgerRow{Input: name(), Dropped: map[string]uint64{name(): 1, name(): 2}})
		s.System = append(s.System, sdk.Metric{Name: name()}, sdk.Metric{Name: name() + "_bucket:le=1,x=" + name()}, sdk.Metric{Name: name() + ":a=b"})
	}
	return s
}

// Whatever comes, a scrape has no more series than configured.
func TestSeriesCap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, maxSeries := range []int{minMaxSeries, minMaxSeries + 1, 1000, 10000} {
		for _, n := range []int{0, 1, 50, 2000} {
			c := defaults()
			c.MaxSeries, c.TopHosts = maxSeries, maxTopHosts
			e, root := serve(t, c)
			s := flood(r, n)
			export(t, e, s)
			for _, kind := range []sdk.EventType{sdk.AttackStarted, sdk.AttackEnded} {
				for i := range s.Attacks {
					s.Attacks[i].Type = kind
				}
				if err := e.Events(t.Context(), s.Attacks); err != nil {
					t.Fatal(err)
				}
			}
			text, _ := scrape(t, root)
			got := samples(text)
			if got > maxSeries {
				t.Errorf("%d rows: %d series, at most %d are allowed", n, got, maxSeries)
			}
			if shown := value(t, text, "fastnetmon_series"); shown != fmt.Sprint(got) && shown != fmt.Sprintf("%g", float64(got)) {
				t.Errorf("%d rows: %d series, fastnetmon_series is %s", n, got, shown)
			}
			if full := value(t, text, `fastnetmon_series_dropped{reason="limit"}`) != "0"; full != (n >= 2000 || n == 50 && maxSeries <= 1000) {
				t.Errorf("%d rows, limit %d, %d series: series dropped by the limit: %t", n, maxSeries, got, full)
			}
			if errors := e.errors.Load(); errors != 0 {
				t.Errorf("%d rows: %d scrape errors", n, errors)
			}
		}
	}
}

// A million hosts, each with labels of its own, cost neither series nor, once
// exported, memory.
func TestMillionHosts(t *testing.T) {
	const n = 1_000_000
	e, root := serve(t, defaults())
	before := heap()
	func() {
		r := rand.New(rand.NewPCG(3, 4))
		var s sdk.Snapshot
		for i := range n {
			name := fmt.Sprint(r.Uint64())
			host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
			s.Hosts = append(s.Hosts, sdk.HostRate{
				Host: host, Group: name, Network: name, Direction: name,
				Counters: []sdk.CounterRate{{Counter: "total", PPS: float64(i)}},
			})
			s.Groups = append(s.Groups, sdk.ScopeRate{Name: name, Direction: "incoming"})
			if i%10 == 0 {
				s.Attacks = append(s.Attacks, sdk.Event{Type: sdk.AttackStarted, ID: name, Target: host, HostGroup: name, AttackType: name})
			}
		}
		export(t, e, s)
		if err := e.Events(t.Context(), s.Attacks); err != nil {
			t.Fatal(err)
		}
	}()
	text, families := scrape(t, root)
	if got := samples(text); got > defaults().MaxSeries {
		t.Errorf("%d series", got)
	}
	if got := len(families["fastnetmon_attacks_open"].GetMetric()); got != 1000 {
		t.Errorf("%d keys of open attacks, want 1000", got)
	}
	if got := value(t, text, `fastnetmon_attacks_open{attack_type="other",direction="other",hostgroup="other"}`); got != "99001" {
		t.Errorf("%s other attacks, want 99001", got)
	}
	if after := heap(); after > before+64<<20 {
		t.Errorf("%d MiB are kept", (after-before)>>20)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The hosts shown are those with the most packets in both directions together,
// with all their rows.
func TestTopHosts(t *testing.T) {
	row := func(host, direction string, pps float64) sdk.HostRate {
		return sdk.HostRate{Host: netip.MustParsePrefix(host), Direction: direction, Counters: []sdk.CounterRate{{Counter: "udp", PPS: 1e9}, {Counter: "total", PPS: pps}}}
	}
	rows := []sdk.HostRate{
		row("10.0.0.1/32", "incoming", 10), row("10.0.0.2/32", "incoming", 6), row("10.0.0.3/32", "incoming", 9),
		row("10.0.0.2/32", "outgoing", 5), row("10.0.0.1/32", "outgoing", 0), row("10.0.0.3/32", "outgoing", 0),
	}
	got := ""
	for _, h := range largestHosts(rows, 2) {
		got += h.Host.Addr().String() + h.Direction[:1] + " "
	}
	if want := "10.0.0.1i 10.0.0.2i 10.0.0.2o 10.0.0.1o "; got != want {
		t.Errorf("rows %q, want %q", got, want)
	}
	if n := len(largestHosts(rows, 0)); n != 0 {
		t.Errorf("%d rows of no host", n)
	}
	if n := len(largestHosts(rows, 3)); n != 6 {
		t.Errorf("%d rows of all hosts", n)
	}
	attacks := largestAttacks([]sdk.Event{{ID: "a", PeakPPS: 1}, {ID: "b", PeakPPS: 3}, {ID: "c", PeakPPS: 2}}, 2)
	if len(attacks) != 2 || attacks[0].ID != "b" || attacks[1].ID != "c" {
		t.Errorf("%v", attacks)
	}
}

// Where there is room for little, hosts go first and the plugin's own series
// last.
func TestOrderUnderCap(t *testing.T) {
	c := defaults()
	c.MaxSeries = minMaxSeries
	e, root := serve(t, c)
	export(t, e, sample())
	text, families := scrape(t, root)
	if samples(text) != minMaxSeries {
		t.Errorf("%d series, want %d", samples(text), minMaxSeries)
	}
	if families["fastnetmon_host_packets_per_second"] != nil || families["fastnetmon_deltas_total"] == nil ||
		families["fastnetmon_attacks_open"] == nil || families["fastnetmon_snapshot_age_seconds"] == nil {
		t.Errorf("the wrong series are missing:\n%s", text)
	}
	if got := value(t, text, `fastnetmon_series_dropped{reason="limit"}`); got != fmt.Sprint(everything(t)-minMaxSeries) {
		t.Errorf("%s series dropped", got)
	}
}

// everything is how many series there are without a limit.
func everything(t *testing.T) int {
	t.Helper()
	e, root := serve(t, defaults())
	export(t, e, sample())
	text, _ := scrape(t, root)
	return samples(text)
}

package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

func benchApply(b *testing.B, n, size int, p *Plan) {
	e := newEngine(b, Options{Seed: 1}, p)
	id := e.AddRing(1)
	flushes := benchFlushes(n, size)
	number, end := uint64(0), origin
	var packets uint64
	buf := make([]ring.Delta, 512) // as the caller has it: copied out of the ring just now
	var took []float64
	clock := cpuClock(b)
	run := func(flush []ring.Delta) int {
		number++
		*flush[0].AsFlush() = ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: number, Revision: 1, WindowEnd: end, Deltas: uint32(len(flush) - 1)}
		var spent time.Duration
		for left := flush; len(left) > 0; {
			batch := buf[:copy(buf, left)]
			left = left[len(batch):]
			from := clock()
			if err := e.Apply(id, batch); err != nil {
				b.Fatal(err)
			}
			spent += clock() - from
		}
		took = append(took, float64(spent.Nanoseconds())/float64(len(flush)-1))
		return len(flush) - 1
	}
	for _, f := range flushes { // rows are made outside the measurement
		run(f)
	}
	end += 50 * ms
	took = slices.Grow(took[:0], b.N/1000+1000)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		for _, f := range flushes {
			if done += run(f); done >= b.N {
				break
			}
		}
		end += 50 * ms
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "ns/delta") // the median flush: others use the machine too
	b.ReportMetric(0, "ns/op")
	s := e.Stats()
	b.ReportMetric(float64(s.UsedBytes)/float64(s.Hosts), "bytes/host")
	if int(s.Hosts) != n || s.Refused != 0 || s.Late != 0 || len(e.Crossings()) != 0 {
		b.Fatalf("%+v", s)
	}
	for _, f := range flushes {
		for i := range f[1:] {
			packets += f[1+i].Packets
		}
	}
	var got uint64
	for _, t := range e.Totals() {
		got += t.Packets[0]
	}
	if got < packets {
		b.Fatalf("counted %d packets, at least %d were given", got, packets)
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{2_000, 60_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) { benchApply(b, n, 4096, testPlan(1, benchLimits()...)) })
	}
}

// Twenty thresholds over all scopes, each direction apart, in flushes as large as
// captures write when so many hosts have traffic.
func BenchmarkApplyScopes(b *testing.B) {
	for _, n := range []int{2_000, 60_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) { benchApply(b, n, 1<<15, testPlan(1, benchScopes()...)) })
	}
}

// benchCommunity is a plan whose group decides by FastNetMon Community's rule.
func benchCommunity() *Plan {
	p := testPlan(1, communityLimits(1000)...)
	p.Groups[0].Community = true
	return p
}

func BenchmarkApplyCommunity(b *testing.B) {
	for _, n := range []int{2_000, 60_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) { benchApply(b, n, 4096, benchCommunity()) })
	}
}

// One twentieth of the hosts, which is what each step ends the periods of.
func BenchmarkPeriods(b *testing.B) {
	const n = 1_000_000
	e := newEngine(b, Options{Seed: 1}, benchCommunity())
	f := newFeeder(b, e, 1)
	for _, ds := range benchFlushes(n, 1<<15) {
		f.flush(origin, ds[1:]...)
	}
	end := origin + int64(period)
	e.Advance(end)
	if r, _ := e.Rates(hostPrefix(1, false), end); r.Dir[0].Packets[0] == 0 {
		b.Fatal("nothing was averaged")
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		end += 50 * ms
		e.Advance(end)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(n/20), "ns/host")
}

// BenchmarkSnapshot reads the rates of 100,000 hosts out of a table that has no
// others, as an exporter of all hosts asks for; slice-us is the longest time for
// which deltas wait.
func BenchmarkSnapshot(b *testing.B) {
	const n = 100_000
	e := newEngine(b, Options{Seed: 1}, testPlan(1, benchLimits()...))
	f := newFeeder(b, e, 1)
	for _, ds := range benchFlushes(n, 4096) {
		f.flush(origin, ds[1:]...)
	}
	clock := cpuClock(b)
	var longest time.Duration
	slice := func(work func() bool) bool {
		from := clock()
		done := work()
		longest = max(longest, clock()-from)
		return done
	}
	b.ReportAllocs()
	for b.Loop() {
		s := e.NewSnapshot(HostQuery{N: n})
		for !slice(func() bool { return s.Step(4096) }) {
		}
		s.Sort()
		got, rates, done := 0, make([]HostRates, 0, 1024), false
		for !done {
			done = slice(func() (last bool) {
				rates, last = s.Read(rates[:0], 1024, e.Clock())
				return last
			})
			got += len(rates)
		}
		if got != n {
			b.Fatalf("%d hosts", got)
		}
	}
	b.ReportMetric(float64(longest.Microseconds()), "slice-us")
}

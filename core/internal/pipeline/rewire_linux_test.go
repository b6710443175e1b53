package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// startFilter starts one more filter, which drops what goes to a port.
func (s *stubs) startFilter(name, onFailure string, env ...string) *filter {
	s.t.Helper()
	f := newFilter(s.sys, stub(host.KindFilter, name, patient(onFailure), env...))
	f.inst.Start()
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		f.inst.Stop(ctx)
	})
	s.await("the filter runs", func() bool { return f.inst.Status().State == plugin.Running })
	return f
}

// Filters come, go and change places behind a capture under load: it is not
// started again, nothing is lost or counted unjudged, and each takes effect.
func TestFiltersChangeWithoutRestart(t *testing.T) {
	s := newStubs(t, true)
	s.run()
	c := s.capture("a", false, "WORKERS", "2", "PACKETS", "100000000", "EVERY_US", "1000", "STAY", "1")
	c.inst.Start()
	row := func() (used, filtered, other uint64) {
		rows, _ := s.counted()
		for cause, n := range rows[0].Dropped {
			if cause != "filtered" {
				other += n
			}
		}
		return rows[0].Used, rows[0].Dropped["filtered"], other
	}
	s.await("it counts", func() bool { used, _, _ := row(); return used > 0 })
	even, odd := s.startFilter("even", "stop"), s.startFilter("odd", "stop", "PORT", "54")
	for round, filters := range [][]*filter{{even}, {even, odd}, {odd, even}, {odd}, {}, {even}, {}} {
		c.rewire(t.Context(), &wiring{filters: filters})
		usedBefore, filteredBefore, _ := row()
		s.await(fmt.Sprintf("round %d takes effect", round), func() bool {
			used, filtered, _ := row()
			switch len(filters) {
			case 0:
				return used > usedBefore+2000
			case 2: // nothing passes; what had passed is still on its way
				return filtered > filteredBefore+2000
			}
			return used > usedBefore+1000 && filtered > filteredBefore+1000
		})
	}
	if n := c.inst.Status().Launches; n != 1 {
		t.Errorf("the capture was started %d times", n)
	}
	s.stop()
	rows, packets := s.counted()
	used, filtered, other := row()
	if other != 0 || rows[0].Received != used+filtered || packets != used {
		t.Errorf("the ledger says %+v, the engine has %d packets", rows[0], packets)
	}
	for _, f := range []*filter{even, odd} {
		if n := f.inst.Status().Launches; n != 1 {
			t.Errorf("filter %s was started %d times", f.block.Instance, n)
		}
	}
}

// A reload may ask what a capture's plugin has said while it is started again.
func TestAskedWhileStartedAgain(t *testing.T) {
	s := newStubs(t, true)
	s.run()
	c := s.capture("a", false, "WORKERS", "1", "PACKETS", "10", "STAY", "1")
	over := make(chan struct{})
	var asking sync.WaitGroup
	asked := 0
	asking.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				asked += c.setup().Workers + len(c.countsFlows(c.cfg))
				runtime.Gosched()
			}
		}
	})
	c.inst.Start()
	for round := range 3 {
		s.await("it runs", func() bool { st := c.inst.Status(); return st.State == plugin.Running && st.Launches > round })
		c.process.Load().Kill()
	}
	close(over)
	asking.Wait()
	t.Log("asked for so many workers:", asked)
}

// A filter in a row of three is killed and stopped under load: what is counted
// is what its mode says, and a capture of another pipeline never stalls.
func TestFilterFailsInARow(t *testing.T) {
	for _, mode := range []string{"bypass", "drop", "stop"} {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			t.Run(fmt.Sprint(mode, " ", signal), func(t *testing.T) {
				s := newStubs(t, true,
					stub(host.KindFilter, "first", patient("stop"), "PORT", "1"),
					stub(host.KindFilter, "second", patient(mode)),
					stub(host.KindFilter, "third", patient("stop"), "PORT", "2"))
				s.run()
				s.startFilters()
				c := s.capture("a", false, "WORKERS", "1", "PACKETS", "100000000", "EVERY_US", "2000", "STAY", "1")
				other := newCapture(s.sys, stub(host.KindCapture, "b", patient(""), "WORKERS", "1", "PACKETS", "100000000", "EVERY_US", "2000", "STAY", "1"), &wiring{}, false)
				s.captures = append(s.captures, other)
				c.inst.Start()
				other.inst.Start()
				second := s.wiring.filters[1].inst
				used := func(i int) uint64 { rows, _ := s.counted(); return rows[i].Used }
				dropped := func(cause string) uint64 { rows, _ := s.counted(); return rows[0].Dropped[cause] }
				s.await("both count", func() bool { return used(0) > 500 && used(1) > 500 && dropped("filtered") > 500 })
				// It stays away long enough for the mode to decide.
				pid := second.Status().PID
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				beside := used(1)
				switch mode {
				case "bypass": // the half that it would drop passes
					s.await("records pass it", func() bool { return used(0) > dropped("filtered")+500 })
				case "drop":
					s.await("records are dropped for it", func() bool { return dropped("filter_failed") > 500 })
				case "stop":
					var before uint64
					s.await("what it had judged is counted", func() bool {
						last := before
						before = used(0)
						time.Sleep(200 * time.Millisecond)
						return last == before
					})
					time.Sleep(300 * time.Millisecond)
					if now := used(0); now != before {
						t.Errorf("%d records went past a filter that everything waits for", now-before)
					}
				}
				s.await("the other capture counts on", func() bool { return used(1) > beside+500 })
				if signal == syscall.SIGKILL {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					s.await("it is started again", func() bool { now := second.Status(); return now.State == plugin.Running && now.PID != pid })
				} else if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				before := dropped("filtered")
				s.await("it filters again", func() bool { return dropped("filtered") > before+500 })
				s.stop()
				rows, packets := s.counted()
				sum := uint64(0)
				for _, n := range rows[0].Dropped {
					sum += n
				}
				if rows[0].Received != rows[0].Used+sum || packets != rows[0].Used+rows[1].Used {
					t.Errorf("the ledger says %+v, the engine has %d packets", rows, packets)
				}
				if mode == "stop" && rows[0].Used > rows[0].Dropped["filtered"]+600 {
					t.Errorf("unjudged records count: %+v", rows[0])
				}
				if mode != "drop" && rows[0].Dropped["filter_failed"] != 0 || mode == "drop" && rows[0].Used > rows[0].Dropped["filtered"]+600 {
					t.Errorf("on_failure %s: %+v", mode, rows[0])
				}
			})
		}
	}
}

// A tap sees what filters have judged, and holds nothing up when it stops.
func TestTap(t *testing.T) {
	for _, filters := range []int{0, 1} {
		t.Run(fmt.Sprint(filters, " filters"), func(t *testing.T) {
			var blocks []*prepared
			if filters > 0 {
				blocks = append(blocks, stub(host.KindFilter, "f", patient("stop")))
			}
			s := newStubs(t, true, blocks...)
			s.run()
			s.startFilters()
			p := stub(host.KindExport, "tap", patient(""))
			p.about = &host.Description{Features: []string{host.FeatureTap}}
			x := newExport(s.sys, p, nil)
			x.inst.Start()
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), stopTime)
				defer cancel()
				x.inst.Stop(ctx)
			})
			s.await("the tap runs", func() bool { return strings.Contains(x.inst.Status().Message, "given=") })
			s.wiring.exports = []*export{x}
			c := s.capture("a", false, "WORKERS", "2", "PACKETS", "1000000", "EVERY_US", "500", "STAY", "1")
			c.inst.Start()
			seen := func() (given, dropped uint64) {
				// The tap tells in its state what it has seen.
				for _, field := range strings.Fields(x.inst.Status().Message) {
					if n, ok := strings.CutPrefix(field, "given="); ok {
						given, _ = strconv.ParseUint(n, 10, 64)
					}
					if n, ok := strings.CutPrefix(field, "dropped="); ok {
						dropped, _ = strconv.ParseUint(n, 10, 64)
					}
				}
				return given, dropped
			}
			s.await("the tap sees records", func() bool {
				given, dropped := seen()
				return given > 5000 && (dropped > 1000) == (filters > 0)
			})
			if err := syscall.Kill(x.inst.Status().PID, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			rows, _ := s.counted()
			before := rows[0].Used
			s.await("the capture counts on", func() bool { rows, _ := s.counted(); return rows[0].Used > before+100_000 })
			if err := syscall.Kill(x.inst.Status().PID, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			given, _ := seen()
			s.await("the tap goes on", func() bool { now, _ := seen(); return now > given })
			if n := c.inst.Status().Launches; n != 1 {
				t.Errorf("the capture was started %d times", n)
			}
			rows, _ = s.counted()
			for cause := range rows[0].Dropped {
				if cause != "filtered" {
					t.Errorf("the tap cost records: %+v", rows[0])
				}
			}
		})
	}
}

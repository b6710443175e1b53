package pipeline

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

func patient(onFailure string) config.Process {
	return config.Process{OnFailure: onFailure, Backoff: 10 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, StartTimeout: time.Minute}
}

// One filter stands behind every worker of every capture of its pipeline, all
// at the same time.
func TestOneFilterBehindTwoCaptures(t *testing.T) {
	s := newStubs(t, true, stub(host.KindFilter, "f", patient("stop")))
	s.run()
	s.startFilters() // no capture runs: the set of rings is empty
	for _, instance := range []string{"a", "b"} {
		s.capture(instance, false, "WORKERS", "2", "PACKETS", "20000", "EVERY_US", "200", "STAY", "1").inst.Start()
	}
	s.await("all were filtered", func() bool {
		rows, _ := s.counted()
		return rows[0].Used+rows[0].Dropped["filtered"] == 40000 && rows[1].Used+rows[1].Dropped["filtered"] == 40000
	})
	s.stop()
	rows, packets := s.counted()
	for _, row := range rows {
		if row.Received != 40000 || row.Used != 20000 || row.Dropped["filtered"] != 20000 {
			t.Errorf("%s received %d, used %d, dropped %v; want half of 40000 filtered", row.Input, row.Received, row.Used, row.Dropped)
		}
	}
	if packets != 40000 {
		t.Errorf("%d packets counted, want 40000", packets)
	}
}

// Filter and captures end again and again, and find each other each time.
func TestFilterAndCaptureStartAgain(t *testing.T) {
	s := newStubs(t, true, stub(host.KindFilter, "f", patient("stop")))
	s.run()
	s.startFilters()
	a := s.capture("a", false, "WORKERS", "2", "PACKETS", "100000000", "EVERY_US", "500", "STAY", "1")
	b := s.capture("b", false, "WORKERS", "1", "PACKETS", "60000", "EVERY_US", "1000")
	a.inst.Start()
	b.inst.Start()
	filter := s.wiring.filters[0].inst
	used := func() uint64 { rows, _ := s.counted(); return rows[0].Used }
	for round := range 4 {
		inst := []*plugin.Instance{filter, a.inst}[round%2]
		before := inst.Status()
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.await("it was started again", func() bool {
			now := inst.Status()
			return now.State == plugin.Running && now.Launches > before.Launches
		})
		seen := used()
		s.await("what it filters is counted", func() bool { return used() > seen })
	}
	s.captures = []*capture{b, a}
	s.await("b finished", func() bool { return b.inst.Status().State == plugin.Finished })
	rows, _ := s.counted()
	// While the filter is away the ring may run full, but nothing passes.
	if row := rows[0]; row.Received != 60000 || row.Used > 30000 || row.Used+row.Dropped["filtered"]+row.Dropped["record_ring_full"] != 60000 {
		t.Errorf("%s received %d, used %d, dropped %v; want none unfiltered of 60000", row.Input, row.Received, row.Used, row.Dropped)
	}
}

// A filter without which records may pass is started again and again; the
// capture counts on.
func TestFailingFilterLeavesTheCaptureAlone(t *testing.T) {
	s := newStubs(t, true, stub(host.KindFilter, "f", patient("bypass"), "FAIL", "worker"))
	s.run()
	s.startFilters() // it fails at the first ring
	c := s.capture("a", false, "WORKERS", "2", "PACKETS", "2000")
	c.inst.Start()
	rows, packets := s.finished()
	if rows[0].Used != 4000 || packets != 4000 {
		t.Errorf("the ledger says %+v, the engine has %d packets; want 4000", rows[0], packets)
	}
	if n := c.inst.Status().Launches; n != 1 {
		t.Errorf("the capture was started %d times", n)
	}
	c = s.capture("b", false, "WORKERS", "1", "PACKETS", "100", "STAY", "1")
	c.inst.Start()
	s.await("the capture runs and the filter is tried again", func() bool {
		filter := s.wiring.filters[0].inst.Status()
		return c.inst.Status().State == plugin.Running && filter.State == plugin.BackingOff && strings.Contains(filter.Message, "no room for a worker")
	})
}

// A filter that never answers delays neither captures, which come and go, nor
// the end.
func TestHangingFilterHoldsNobodyUp(t *testing.T) {
	for _, mode := range []string{"hangs", "is stopped"} {
		t.Run(mode, func(t *testing.T) {
			var env []string
			if mode == "hangs" {
				env = []string{"FAIL", "hang"}
			}
			s := newStubs(t, true, stub(host.KindFilter, "f", patient("bypass"), env...))
			s.run()
			s.startFilters()
			if mode == "is stopped" {
				if err := syscall.Kill(s.wiring.filters[0].inst.Status().PID, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			c := s.capture("a", false, "WORKERS", "1", "PACKETS", "1000", "STAY", "1")
			c.inst.Start()
			for range 3 {
				before := c.inst.Status().Launches
				s.await("the capture runs", func() bool { return c.inst.Status().State == plugin.Running })
				p, err := os.FindProcess(c.inst.Status().PID)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Kill(); err != nil {
					t.Fatal(err)
				}
				s.await("the capture is started again", func() bool { return c.inst.Status().Launches > before })
			}
			s.await("the capture runs", func() bool { return c.inst.Status().State == plugin.Running })
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the capture took %v to start four times", took)
			}
			began = time.Now()
			s.stop()
			if took := time.Since(began); took > stopTime+5*time.Second {
				t.Errorf("stopping took %v", took)
			}
		})
	}
}

package pipeline

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// noSharedMemory makes a capture stream its deltas.
func noSharedMemory(string, int, uint32) (*ring.DeltaRing, error) { return nil, ring.ErrUnsupported }

// Whether the input ends or the capture is stopped, what it has said it counted
// arrives, also where deltas are streamed.
func TestStreamedDeltasAllArrive(t *testing.T) {
	const packets = 200000
	for round := range 20 {
		s := newStubs(t, round%2 == 0)
		s.run()
		c := s.capture("a", round%2 == 1, "WORKERS", "1", "PACKETS", "200000", "STAY", map[bool]string{true: "1"}[round%4 == 2])
		c.createDelta = noSharedMemory
		c.inst.Start()
		if round%4 == 2 {
			s.await("something was counted", func() bool { rows, _ := s.counted(); return rows[0].Received == packets })
			s.stop()
		} else {
			s.finished()
		}
		rows, counted := s.counted()
		if row := rows[0]; counted != packets || row.Received != packets || row.Used != packets || row.InFlight != 0 {
			t.Fatalf("round %d: the ledger says %+v, the engine has %d packets of %d", round, row, counted, packets)
		}
		if c.replay && (c.played[0].last.Flags&ring.FlushFinished == 0 || c.played[0].left != 0) {
			t.Fatalf("round %d: the last flush is %+v", round, c.played[0].last)
		}
	}
}

// A stream whose deltas nobody takes, since its capture has failed to attach,
// does not keep the capture from going.
func TestGoneEndsAStreamThatNobodyReads(t *testing.T) {
	wait, stop := context.WithCancel(t.Context())
	l := newLoop(nil, nil, hclog.NewNullLogger(), nil, nil)
	close(l.stopped)
	c := &capture{prepared: &prepared{block: &config.Plugin{}}, sys: &system{loop: l, log: hclog.NewNullLogger()}, wiring: &wiring{}, stop: stop}
	s := newStreamSource(wait, func() {})
	c.addInput(0, s, s.end)
	full := make(chan struct{})
	c.streams.Go(func() {
		b := ring.AppendDeltas(nil, make([]ring.Delta, 1024))
		for n := 0; s.give(b) == nil; n++ {
			if n == streamQueue/1024 {
				close(full)
			}
		}
	})
	<-full
	done := make(chan struct{})
	go func() { c.gone(nil, nil); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("gone does not return")
	}
}

// replayOf is a replay whose capture is a stub with two workers.
func replayOf(s *stubs, emit func(Output) error) *replay {
	r := &replay{d: &Daemon{sys: s.sys, set: newSet()}, emit: emit, wiring: s.wiring}
	r.capture = s.capture("a", true, "WORKERS", "2", "PACKETS", "30000")
	r.capture.createDelta = ring.CreateDelta
	return r
}

// A ring that lies fails the replay, though its capture may say that it has
// finished before it is killed.
func TestReplayOfARingThatLiesFails(t *testing.T) {
	for range 5 {
		s := newStubs(t, false)
		emitted := 0
		r := replayOf(s, func(Output) error { emitted++; return nil })
		r.capture.createDelta = func(name string, capacity int, generation uint32) (*ring.DeltaRing, error) {
			return ring.CreateDelta(name, capacity, generation+1) // the plugin's flushes are of another one
		}
		if err := r.run(t.Context()); err == nil || emitted > 0 {
			t.Fatalf("the replay ended with %v and emitted %d summaries", err, emitted)
		}
	}
}

// A replay that lost a part of its input fails, whatever its capture says.
func TestReplayWithoutAllInputFails(t *testing.T) {
	for want, damage := range map[string]func(c *capture){
		"":                      func(*capture) {},
		"could not be believed": func(c *capture) { c.sys.quarantines.Add(1) },
		"did not arrive":        func(c *capture) { c.played[0].last.Flags = 0 },
		"of what worker 1":      func(c *capture) { c.played[1].left = 1 },
		"gave something":        func(c *capture) { c.played = c.played[1:] },
		"are accounted for":     func(c *capture) { c.account.received++ },
		"packets were counted":  func(c *capture) { c.played[0].last.Packets, c.played[1].last.Packets = 0, 0 },
	} {
		t.Run(want, func(t *testing.T) {
			s := newStubs(t, false, stub(host.KindFilter, "f", patient("bypass")))
			var summary *Summary
			r := replayOf(s, func(o Output) error { summary = o.Finished; return nil })
			if err := r.run(t.Context()); err != nil || summary == nil || summary.Packets != 30000 {
				t.Fatalf("the replay ended with %v: %+v", err, summary)
			}
			<-s.sys.loop.stopped
			damage(r.capture)
			err := r.missing()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("it says %v, want %q", err, want)
			}
		})
	}
}

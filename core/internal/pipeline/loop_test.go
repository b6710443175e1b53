package pipeline

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

const windowNanos = int64(50 * time.Millisecond)

// loopBed is a loop that the test drives turn by turn, on a clock of its own.
type loopBed struct {
	t    *testing.T
	loop *loop
	sys  *system
	now  int64
	log  bytes.Buffer
}

func newLoopBed(t *testing.T, opt engine.Options) *loopBed {
	t.Helper()
	b := &loopBed{t: t, now: 1000 * int64(time.Second)}
	opt.MaxAhead = maxAhead
	e, err := engine.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	err = e.SetPlan(&engine.Plan{
		Revision: 1, Groups: []engine.Group{{ID: 1, Limits: []engine.Limit{{ID: 1, Value: 1000, Rules: engine.DefaultRules()}}}},
		Prefixes: []engine.Prefix{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1, Group: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := hclog.New(&hclog.LoggerOptions{Output: &b.log})
	b.loop = newLoop(e, detect.New(e, detect.Config{}), log, func() int64 { return b.now }, func([]detect.Event) {})
	b.sys = &system{loop: b.loop, log: log}
	return b
}

func (b *loopBed) add(s source) *input {
	c := &capture{
		prepared: &prepared{block: &config.Plugin{Name: "test", Instance: "a"}}, sys: b.sys, generation: 1,
	}
	in := &input{source: s, capture: c, seen: make(chan struct{}, 1)}
	b.loop.add(in)
	return in
}

// script is a source that gives what a function makes, one record at a time.
type script struct {
	number uint64
	reads  int
	next   func(number uint64) (end int64, ok bool) // of an empty flush
}

func (s *script) Read(dst []ring.Delta) (int, error) {
	s.reads++
	for i := range dst {
		end, ok := s.next(s.number + 1)
		if !ok {
			return i, nil
		}
		s.number++
		f := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: s.number, Revision: 1, WindowEnd: end}
		dst[i] = *f.AsDelta()
	}
	return len(dst), nil
}

// An ended input is read to its end, but not for ever: what outlived its
// process may go on writing.
func TestFinishIsBounded(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	from := b.now
	endless := &script{next: func(uint64) (int64, bool) { return from, true }}
	b.loop.finish(b.add(endless))
	if len(b.loop.inputs) != 0 || endless.number < deltaCapacity || endless.number < streamQueue || endless.number > 4*streamQueue {
		t.Errorf("%d inputs left after %d records", len(b.loop.inputs), endless.number)
	}
}

// After both processes stood still the capture may be the first to go on: its
// windows end now, whatever time the engine has got to.
func TestPauseOfCoreAndCapture(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	last := b.now
	in := b.add(&script{next: func(uint64) (int64, bool) {
		if last == b.now {
			return 0, false
		}
		last = b.now
		return b.now, true
	}})
	for _, pause := range []int64{1, 1, 24, 20 * 3600, 1} {
		b.now += pause * windowNanos
		b.loop.turn()
	}
	if len(b.loop.inputs) != 1 || b.sys.quarantines.Load() != 0 || b.loop.engine.Clock() != b.now {
		t.Fatalf("quarantined %d times, clock %d at %d\n%s", b.sys.quarantines.Load(), b.loop.engine.Clock(), b.now, b.log.String())
	}
	b.loop.remove(in)
}

// A backlog is read by its own time, and none of it is late; a ring that
// never runs empty and never moves on does not hold the clock up.
func TestBacklogAndClock(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	b.loop.turn()
	from := b.now
	b.now += 600 * int64(time.Second)
	in := b.add(&script{next: func(n uint64) (int64, bool) {
		end := from + int64(n)*windowNanos
		return end, end <= b.now
	}})
	b.loop.turn()
	if l, _ := b.loop.engine.Ledger(in.id); l.WindowEnd != b.now || b.loop.engine.Clock() != b.now {
		t.Fatalf("window %d, clock %d of %d", l.WindowEnd, b.loop.engine.Clock(), b.now)
	}
	b.loop.remove(in)
	b.add(&script{next: func(uint64) (int64, bool) { return from, true }})
	for range 100 {
		b.now += windowNanos
		b.loop.turn()
	}
	if late := b.now - b.loop.engine.Clock(); late > windowNanos {
		t.Errorf("a ring that is always full holds the clock up by %v", time.Duration(late))
	}
	b.add(&script{next: func(uint64) (int64, bool) { return b.now + 4*windowNanos, true }})
	b.loop.turn()
	if b.sys.quarantines.Load() != 1 || b.loop.engine.Clock() > b.now {
		t.Errorf("a ring ahead of its time was quarantined %d times; clock ahead by %v", b.sys.quarantines.Load(), time.Duration(b.loop.engine.Clock()-b.now))
	}
}

// What the engine cannot hold is told, once in a while and with its number.
func TestComplaints(t *testing.T) {
	b := newLoopBed(t, engine.Options{MaxAlarms: 1})
	var now int64
	var number uint64
	flood := &floodSource{make: func() []ring.Delta {
		number++
		f := ring.Flush{Kind: ring.KindFlush, Generation: 1, Number: number, Revision: 1, WindowEnd: now, Deltas: 3}
		out := []ring.Delta{*f.AsDelta()}
		for n := range byte(3) {
			out = append(out, ring.Delta{
				Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: 1, Group: 1, SpanMs: 50, Packets: 1e6, Sampling: 1,
				Addr: netip.AddrFrom4([4]byte{10, 0, 0, n}).As16(),
			})
		}
		return out
	}}
	b.add(flood)
	for range 50 {
		b.now += windowNanos
		now = b.now
		flood.due = true
		b.loop.looked = time.Time{}
		b.loop.turn()
	}
	const what = "attacks are not reported"
	if n := strings.Count(b.log.String(), what); n != 1 {
		t.Fatalf("%d lines:\n%s", n, b.log.String())
	}
	for cause, c := range b.loop.told { // a minute later
		c.at = time.Time{}
		b.loop.told[cause] = c
	}
	b.loop.looked = time.Time{}
	b.loop.complain()
	b.loop.looked = time.Time{}
	b.loop.complain()
	if n := strings.Count(b.log.String(), what); n != 2 || !strings.Contains(b.log.String(), "count=") {
		t.Fatalf("%d lines:\n%s", n, b.log.String())
	}
}

// floodSource gives one batch each time it is due.
type floodSource struct {
	due  bool
	make func() []ring.Delta
}

func (s *floodSource) Read(dst []ring.Delta) (int, error) {
	if !s.due {
		return 0, nil
	}
	s.due = false
	return copy(dst, s.make()), nil
}

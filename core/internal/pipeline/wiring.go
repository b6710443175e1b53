package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// wiring is what works on the records of a pipeline's captures: filters in
// their order, and the exports that may take raw records.
type wiring struct {
	filters []*filter
	exports []*export
}

// filter is one filter block.
type filter struct{ ringUser }

func newFilter(sys *system, p *prepared) *filter {
	f := &filter{ringUser{prepared: p, sys: sys}}
	f.inst = sys.instance(p, plugin.Hooks{Configure: p.configure, Attach: f.attach, Gone: f.gone})
	return f
}

func newWiring(sys *system, blocks []*prepared) *wiring {
	w := &wiring{}
	for _, p := range blocks {
		w.filters = append(w.filters, newFilter(sys, p))
	}
	return w
}

// stages and taps are who works on a record ring that is made now.
func (w *wiring) stages() (out []*ringUser) {
	for _, f := range w.filters {
		out = append(out, &f.ringUser)
	}
	return out
}

func (w *wiring) taps() (out []*ringUser) {
	for _, x := range w.exports {
		if x.taps() && len(out) < ring.MaxTaps {
			out = append(out, &x.ringUser)
		}
	}
	return out
}

// makeRecords makes a record ring for each worker of a capture, none where
// nobody asks for records. They are not known to anybody yet.
func (c *capture) makeRecords(w *wiring) (rings []*wired, request []host.Ring, err error) {
	stages, taps := w.stages(), w.taps()
	if len(stages)+len(taps) == 0 {
		return nil, nil, nil
	}
	var failure []uint32
	for _, u := range stages {
		failure = append(failure, u.onFailure(c.replay))
	}
	for worker := range c.setup().Workers {
		r, err := ring.CreateRecord(c.ringName(worker)+"-records", recordCapacity, len(stages), len(taps), c.generation)
		if err != nil {
			closeRecords(rings)
			return nil, nil, err
		}
		rings = append(rings, &wired{RecordRing: r, worker: worker, filters: stages, taps: taps, replay: c.replay})
		request = append(request, host.Ring{
			Kind: host.RecordRing, Worker: uint32(worker), Generation: c.generation,
			Stages: uint32(len(stages)), StageFailure: failure,
		})
	}
	return rings, request, nil
}

func closeRecords(rings []*wired) {
	for _, r := range rings {
		r.Close()
	}
}

// leaveTime bounds how long filters work on in the rings of a wiring that was
// replaced: as long as the capture waits for that, and a little more.
const leaveTime = 1500 * time.Millisecond

// rewire puts another wiring behind a capture, which goes on meanwhile: it
// writes into new record rings, or none, and what lies in those before is judged
// by who had them.
func (c *capture) rewire(ctx context.Context, w *wiring) {
	c.wires.Lock()
	defer c.wires.Unlock()
	c.wiring = w
	proc := c.process.Load()
	if proc == nil || !c.attached {
		return // a process that starts gets the new wiring
	}
	var stages, taps []*ringUser
	if len(c.records) > 0 {
		stages, taps = c.records[0].filters, c.records[0].taps
	}
	if slices.Equal(stages, w.stages()) && slices.Equal(taps, w.taps()) {
		return
	}
	if err := c.changeRecords(ctx, proc, w); err != nil {
		c.sys.log.Error("a capture does not take its new record rings: it is replaced", "capture", c.block.Instance, "error", err)
		proc.KillFor(fmt.Errorf("it did not take its new record rings: %w", err))
	}
}

func (c *capture) changeRecords(ctx context.Context, proc *plugin.Process, w *wiring) error {
	next, rings, err := c.makeRecords(w)
	if err != nil {
		return err
	}
	request := host.AttachRequest{Token: c.sys.token(), Records: true, Rings: rings}
	c.sys.board.hang(next)
	c.sys.board.awaitTold(ctx, next)
	if len(next) > 0 {
		err = ring.SendFiles(proc.Rings(), request.Token, filesOf(next))
	}
	if err == nil {
		err = proc.Host().AttachRings(ctx, request)
	}
	old := c.records
	if err != nil {
		old = next
	} else {
		c.records = next
		awaitJudged(ctx, proc, old)
	}
	c.sys.board.takeDown(old)
	select {
	case <-proc.Done():
		c.settleRecords(old)
	default: // the capture accounts for what it left there
	}
	closeRecords(old)
	return err
}

// awaitJudged returns when filters have passed all that lies in rings.
func awaitJudged(ctx context.Context, proc *plugin.Process, rings []*wired) {
	for end := time.Now().Add(leaveTime); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		select {
		case <-proc.Done():
			return
		default:
		}
		if !slices.ContainsFunc(rings, func(r *wired) bool { s := r.Stats(); return s.Head != s.Judged }) {
			return
		}
	}
}

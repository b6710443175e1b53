package pipeline

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// wiring joins the filters of a pipeline to the record rings of its captures.
// Either side may start again at any time: then every running filter is given
// the whole set of rings anew.
type wiring struct {
	sys     *system
	filters []*filter // in order: the index is the stage

	mu    sync.Mutex
	rings map[*capture][]*ring.RecordRing
}

// filter is one filter block.
type filter struct {
	*prepared
	wiring *wiring
	stage  int
	inst   *plugin.Instance
	proc   *plugin.Process // that has started; guarded by wiring.mu
}

func newWiring(sys *system, blocks []*prepared) *wiring {
	w := &wiring{sys: sys, rings: map[*capture][]*ring.RecordRing{}}
	for stage, p := range blocks {
		f := &filter{prepared: p, wiring: w, stage: stage}
		f.inst = sys.instance(p, plugin.Hooks{Configure: sys.configure(p), Attach: f.attach, Gone: f.gone})
		w.filters = append(w.filters, f)
	}
	return w
}

// onFailure lists what becomes of records, by stage. In replay the capture
// waits for every filter: the same input gives the same output.
func (w *wiring) onFailure(replay bool) []uint32 {
	var out []uint32
	for _, f := range w.filters {
		out = append(out, f.onFailure(replay))
	}
	return out
}

func (f *filter) onFailure(replay bool) uint32 {
	switch {
	case replay || f.block.Process.OnFailure == "stop":
		return host.OnFailureStop
	case f.block.Process.OnFailure == "drop":
		return host.OnFailureDrop
	}
	return host.OnFailureBypass
}

// setRings tells the filters which rings a capture has now.
func (w *wiring) setRings(ctx context.Context, c *capture, rings []*ring.RecordRing) error {
	if len(w.filters) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rings[c] = rings; len(rings) == 0 {
		delete(w.rings, c)
	}
	var errs []error
	for _, f := range w.filters {
		if f.proc != nil {
			errs = append(errs, f.give(ctx, f.proc))
		}
	}
	return errors.Join(errs...)
}

func (f *filter) attach(ctx context.Context, proc *plugin.Process) error {
	f.wiring.mu.Lock()
	defer f.wiring.mu.Unlock()
	f.proc = proc
	return f.give(ctx, proc)
}

func (f *filter) gone(*plugin.Process, error) {
	f.wiring.mu.Lock()
	defer f.wiring.mu.Unlock()
	f.proc = nil
}

// give hands a filter all rings of its pipeline; the caller holds wiring.mu.
func (f *filter) give(ctx context.Context, proc *plugin.Process) error {
	request := host.AttachRequest{Token: f.wiring.sys.token()}
	var files []*os.File
	captures := slices.SortedFunc(maps.Keys(f.wiring.rings), func(a, b *capture) int {
		return strings.Compare(a.block.Name+"."+a.block.Instance, b.block.Name+"."+b.block.Instance)
	})
	for _, c := range captures {
		for worker, r := range f.wiring.rings[c] {
			files = append(files, r.File())
			request.Rings = append(request.Rings, host.Ring{
				Kind: host.RecordRing, Worker: uint32(worker), Generation: r.Generation(), Stage: uint32(f.stage),
				Stages: uint32(len(f.wiring.filters)), OnFailure: f.onFailure(c.replay),
			})
		}
	}
	if len(files) > 0 {
		if err := ring.SendFiles(proc.Rings(), request.Token, files); err != nil {
			return err
		}
	}
	return proc.Host().AttachRings(ctx, request)
}

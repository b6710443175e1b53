package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// giveTime bounds how long a running filter may take over a new set of rings,
// where its block sets no start_timeout: as long as at its launch.
const giveTime = 30 * time.Second

// wiring joins the filters of a pipeline to the record rings of its captures.
// Either side may start again at any time: then every running filter is told
// the whole set of rings anew. Captures do not wait for that: what becomes of
// records that no filter judges is for on_failure to say.
type wiring struct {
	sys     *system
	filters []*filter // in order: the index is the stage

	mu      sync.Mutex // never held during a call
	rings   map[*capture][]wired
	lastID  uint64
	version uint64 // of the set: one more with each change
}

// wired is a record ring under the name that filters know it by.
type wired struct {
	id uint64
	*ring.RecordRing
}

// filter is one filter block.
type filter struct {
	*prepared
	wiring *wiring
	stage  int
	inst   *plugin.Instance

	// Of the process that runs, nil when none does; guarded by wiring.mu.
	changed chan struct{}      // holds a token when there is a newer set to tell
	forget  context.CancelFunc // ends the telling
}

func newWiring(sys *system, blocks []*prepared) *wiring {
	w := &wiring{sys: sys, rings: map[*capture][]wired{}}
	for stage, p := range blocks {
		f := &filter{prepared: p, wiring: w, stage: stage}
		f.inst = sys.instance(p, plugin.Hooks{Configure: p.configure, Attach: f.attach, Gone: f.gone})
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

// setRings says which rings a capture has from now on; those it had may be
// closed at once. It waits for nobody.
func (w *wiring) setRings(c *capture, rings []*ring.RecordRing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	delete(w.rings, c)
	for _, r := range rings {
		w.lastID++
		w.rings[c] = append(w.rings[c], wired{w.lastID, r})
	}
	for _, f := range w.filters {
		select {
		case f.changed <- struct{}{}:
		default: // it does not run, or has yet to look
		}
	}
}

// attach tells a new process its rings, and from then on every change.
func (f *filter) attach(ctx context.Context, proc *plugin.Process) error {
	changed := make(chan struct{}, 1)
	telling, forget := context.WithCancel(context.Background())
	f.wiring.mu.Lock()
	f.changed, f.forget = changed, forget
	f.wiring.mu.Unlock()
	if err := f.give(ctx, proc); err != nil {
		return err
	}
	go f.tell(telling, proc, changed)
	return nil
}

func (f *filter) gone(*plugin.Process, error) {
	f.wiring.mu.Lock()
	defer f.wiring.mu.Unlock()
	if f.forget != nil {
		f.forget()
	}
	f.changed, f.forget = nil, nil
}

// tell hands a running filter each newer set of rings. One that does not take
// it is replaced.
func (f *filter) tell(ctx context.Context, proc *plugin.Process, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, cmp.Or(f.block.Process.StartTimeout, giveTime))
		err := f.give(call, proc)
		cancel()
		switch {
		case ctx.Err() != nil, err != nil && f.leaving(proc):
			return
		case err != nil:
			f.wiring.sys.log.Error("a filter did not take its rings: its process is replaced",
				"filter", f.block.Instance, "plugin", f.block.Name, "pid", proc.PID(), "error", err)
			proc.KillFor(fmt.Errorf("it did not take its rings: %w", err))
			return
		}
	}
}

// leaving tells of a process that is on its way out: it need not take rings.
func (f *filter) leaving(proc *plugin.Process) bool {
	select {
	case <-proc.Done():
		return true
	default:
	}
	state := f.inst.Status().State
	return state == plugin.Draining || state.Final()
}

// give hands a filter all rings of its pipeline. Only the newest set may fail:
// the rings of an older one may be closed.
func (f *filter) give(ctx context.Context, proc *plugin.Process) error {
	for {
		request, files, version := f.wanted()
		err := send(ctx, proc, request, files)
		if err == nil || ctx.Err() != nil || version == f.wiring.current() {
			return err
		}
	}
}

func (w *wiring) current() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

// wanted is the set of rings that a filter is to have now.
func (f *filter) wanted() (request host.AttachRequest, files []*os.File, version uint64) {
	w := f.wiring
	w.mu.Lock()
	defer w.mu.Unlock()
	request.Token = w.sys.token()
	captures := slices.SortedFunc(maps.Keys(w.rings), func(a, b *capture) int {
		return strings.Compare(a.block.Name+"."+a.block.Instance, b.block.Name+"."+b.block.Instance)
	})
	for _, c := range captures {
		for worker, r := range w.rings[c] {
			files = append(files, r.File())
			request.Rings = append(request.Rings, host.Ring{
				Kind: host.RecordRing, ID: r.id, Worker: uint32(worker), Generation: r.Generation(), Stage: uint32(f.stage),
				Stages: uint32(len(w.filters)), OnFailure: f.onFailure(c.replay),
			})
		}
	}
	return request, files, w.version
}

func send(ctx context.Context, proc *plugin.Process, request host.AttachRequest, files []*os.File) error {
	if len(files) > 0 {
		if err := ring.SendFiles(proc.Rings(), request.Token, files); err != nil {
			return err
		}
	}
	return proc.Host().AttachRings(ctx, request)
}

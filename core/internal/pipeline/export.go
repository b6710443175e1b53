package pipeline

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

const (
	exportPeriod  = time.Second // unless process { period } says otherwise
	exportTimeout = 10 * time.Second
	exportHosts   = 100 // top hosts in a snapshot, unless process { hosts } says otherwise
)

// snapshotFunc makes a snapshot with so many hosts; false when there is nothing
// to make one of any more.
type snapshotFunc func(hosts int, period time.Duration) (sdk.Snapshot, bool)

// export is one export block: its process, the period of its snapshots and
// the queue of its events.
type export struct {
	ringUser
	events   *delivery
	snapshot snapshotFunc
	running  atomic.Pointer[plugin.Process]
	missed   atomic.Uint64 // snapshots that could not be handed over
	spurns   atomic.Bool   // it could take raw records, and says that it wants none
}

func newExport(sys *system, p *prepared, snapshot snapshotFunc) *export {
	e := &export{ringUser: ringUser{prepared: p, sys: sys}, snapshot: snapshot}
	hooks := plugin.Hooks{
		Configure: e.configure,
		Running:   func(proc *plugin.Process) { e.running.Store(proc) },
		Gone: func(proc *plugin.Process, err error) {
			e.running.Store(nil)
			e.gone(proc, err)
		},
	}
	if e.mayTap() {
		hooks.Attach = e.attach
	}
	e.inst = sys.instance(p, hooks)
	e.events = newDelivery(p.block.Name+"."+p.block.Instance, 1, e.timeout(), sys.log, e.notify)
	return e
}

func (e *export) configure(ctx context.Context, proc *plugin.Process) error {
	err := e.prepared.configure(ctx, proc)
	e.spurns.Store(e.setup().NoRecords)
	return err
}

// taps tells whether the export takes raw records.
func (e *export) taps() bool { return e.mayTap() && !e.spurns.Load() }

func (e *export) mayTap() bool { return e.about != nil && e.about.Has(host.FeatureTap) }

func (e *export) timeout() time.Duration {
	if t := e.block.Process.Timeout; t > 0 {
		return t
	}
	return exportTimeout
}

// hosts is how many of the largest hosts a snapshot has.
func (e *export) hosts() int {
	if n := e.block.Process.Hosts; n != 0 {
		return max(n, 0)
	}
	return exportHosts
}

func (e *export) notify(ctx context.Context, event sdk.Event) error {
	proc := e.running.Load()
	if proc == nil {
		return errNotRunning
	}
	return proc.Host().Events(ctx, []sdk.Event{event})
}

// serve hands over events and, each period, a snapshot, until finish or ctx
// ends it.
func (e *export) serve(ctx context.Context) {
	var periods sync.WaitGroup
	periodic, stop := context.WithCancel(ctx)
	periods.Go(func() { e.run(periodic) })
	e.events.run(ctx)
	stop()
	periods.Wait()
}

// finish lets serve end once all events are delivered.
func (e *export) finish() { e.events.finish() }

// run hands over a snapshot each period until ctx is done. A slow exporter
// gets fewer snapshots, never late ones.
func (e *export) run(ctx context.Context) {
	period := e.block.Process.Period
	if period <= 0 {
		period = exportPeriod
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		proc := e.running.Load()
		if proc == nil {
			e.missed.Add(1)
			continue
		}
		s, ok := e.snapshot(e.hosts(), period)
		if !ok {
			return
		}
		call, cancel := context.WithTimeout(ctx, e.timeout())
		err := proc.Host().Export(call, s)
		cancel()
		if err != nil {
			e.missed.Add(1)
		}
		if err != nil && !failing && !errors.Is(ctx.Err(), context.Canceled) {
			e.sys.log.Error("the exporter failed", "export", e.events.name, "error", err)
		} else if err == nil && failing {
			e.sys.log.Info("the exporter works again", "export", e.events.name, "missed", e.missed.Load())
		}
		failing = err != nil
	}
}

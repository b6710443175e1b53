package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Status is what runs, and how much it sees.
type Status struct {
	Revision    string
	Mode        config.Mode
	Hosts       uint64
	Deltas      float64 // applied per second, over the last ones
	Totals      []sdk.TotalRate
	Attacks     int
	LossRatio   float64
	Memory      uint64 // octets, mapped for the tables of hosts
	MemoryLimit uint64 // octets
	Suspended   string // what may have inflated rates, so that attacks it shows are not enforced just now; "": nothing
}

// ErrEnded says that the daemon does not answer any more.
var ErrEnded = errors.New("the daemon is not running")

// Status tells what runs.
func (d *Daemon) Status() (Status, error) {
	var s Status
	if !d.sys.loop.do(func() {
		e := d.sys.loop.engine
		stats := e.Stats()
		s = Status{
			Revision: d.cfg.Revision, Mode: d.cfg.Daemon.Mode, Hosts: uint64(stats.Hosts), Deltas: d.deltaRate,
			Totals: totalRates(e), Attacks: d.sys.loop.detector.Open(), LossRatio: d.loss.ratio(d.ledger()),
			Memory: stats.MappedBytes, MemoryLimit: d.memoryLimit(),
		}
		s.Suspended = d.sys.loop.suspended()
	}) {
		return s, ErrEnded
	}
	return s, nil
}

func (d *Daemon) memoryLimit() uint64 {
	if limit := d.opt.Config.Daemon.MemoryLimit; limit > 0 { // a reload does not change it
		return limit
	}
	return engine.DefaultMemoryLimit
}

// Troubles lists what is wrong with the daemon itself, a sentence each.
func (d *Daemon) Troubles() []string { return d.sys.troubles() }

// RuntimeDir is the directory for sockets that is really used; once it runs.
func (d *Daemon) RuntimeDir() string { return d.sys.runtimeDir }

// Query asks for the hosts with the highest rates.
type Query struct {
	Top            int
	Counter        string // built-in
	Unit           config.Unit
	Direction      string // incoming, outgoing, or both
	Group, Network string // "": any
	Prefix         netip.Prefix
}

// ErrUnknown marks a query for something that the configuration does not have.
var ErrUnknown = errors.New("unknown")

// Hosts returns the hosts that a query asks for, highest first.
func (d *Daemon) Hosts(ctx context.Context, q Query) ([]sdk.HostRate, error) {
	query := engine.HostQuery{N: q.Top, Counter: uint8(max(0, slices.Index(detect.CounterNames[:], q.Counter))), Prefix: q.Prefix}
	switch q.Unit {
	case config.BPS:
		query.Unit = engine.ByteRate
	case config.FPS:
		query.Unit = engine.FlowRate
	}
	switch q.Direction {
	case "incoming":
		query.Only = engine.OnlyIncoming
	case "outgoing":
		query.Only = engine.OnlyOutgoing
	}
	var err error
	if query.Group, err = lookUp("hostgroup", q.Group, d.sys.names.groups); err != nil {
		return nil, err
	}
	if query.Network, err = lookUp("network", q.Network, d.sys.names.networks); err != nil {
		return nil, err
	}
	top, ok := d.gather(query)
	if !ok {
		return nil, ErrEnded
	}
	out, ok := d.hostsOf(top)
	if !ok {
		return nil, ErrEnded
	}
	if q.Direction != "both" {
		out = slices.DeleteFunc(out, func(h sdk.HostRate) bool { return h.Direction != q.Direction })
	}
	return out, ctx.Err()
}

// lookUp returns the id of a name, 0 for none.
func lookUp(what, name string, names *ids) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	id, ok := names.find(name)
	if !ok {
		return 0, fmt.Errorf("%w %s %q", ErrUnknown, what, name)
	}
	return id, nil
}

// PluginState is one block in use and its process.
type PluginState struct {
	Block                              *config.Plugin
	Pipeline                           string // of a filter, which has a process in each pipeline that names it
	Version                            string
	Status                             plugin.Status
	Delivered, Failed, Dropped, Queued uint64 // events, of actions and exports
}

// Plugins lists the blocks in use: captures, filters, actions, exports, each in
// the order of the configuration.
func (d *Daemon) Plugins() ([]PluginState, error) {
	var out []PluginState
	if !d.sys.loop.do(func() { out = d.states() }) {
		return nil, ErrEnded
	}
	return out, nil
}

// states is what runs of all blocks in use; the loop's goroutine calls it.
func (d *Daemon) states() (out []PluginState) {
	for _, b := range allBlocks(d.cfg) {
		out = append(out, d.statesOf(blockName(b))...)
	}
	return out
}

// statesOf is what runs of a block; the loop's goroutine calls it.
func (d *Daemon) statesOf(name string) (out []PluginState) {
	show := func(p part, pipeline string, q *delivery) {
		s := PluginState{Block: p.block, Pipeline: pipeline, Version: p.about.Version, Status: p.inst.Status()}
		if q != nil {
			s.Delivered, s.Failed, s.Dropped, s.Queued = q.delivered.Load(), q.failed.Load(), q.dropped.Load(), q.queued()
		}
		out = append(out, s)
	}
	if c := d.set.captures[name]; c != nil {
		show(c.part(), "", nil)
		if s := &out[len(out)-1].Status; s.State == plugin.Running && c.quietFor() >= lasting(quietLooks) {
			s.Message = fmt.Sprintf("nothing received for %s", c.quietFor())
		}
	}
	if a := d.set.actions[name]; a != nil {
		show(a.part(), "", a.queue)
	}
	if x := d.set.exports[name]; x != nil {
		show(x.part(), "", x.events)
	}
	for _, pipeline := range slices.Sorted(maps.Keys(d.set.wirings)) {
		for _, f := range d.set.wirings[pipeline].parts() {
			if blockName(f.block) == name {
				show(f, pipeline, nil)
			}
		}
	}
	return out
}

package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Bounds on what plugins may say in a table.
const (
	tableTime = 5 * time.Second // for an answer
	maxRows   = 20000           // of all plugins together
	maxCells  = 64              // of a row
)

// PluginTable is one plugin's answer to a question for rows.
type PluginTable struct {
	Plugin string // its name and instance: netflow.routers
	Rows   sdk.Rows
	Err    error // why it has none
}

// tapped is a capture that runs and may be asked.
type tapped struct {
	*capture
	status plugin.Status
	proc   *plugin.Process // nil: it is not running
	quiet  time.Duration   // for which it has received nothing; 0: it has not been long
	fed    bool            // it has received something
}

// inUse lists the captures in the order of the configuration. The loop's
// goroutine calls it.
func (d *Daemon) inUse() (out []tapped) {
	for _, p := range d.cfg.Pipelines {
		for _, b := range p.Captures {
			if c := d.set.captures[blockName(b)]; c != nil {
				t := tapped{capture: c, status: c.inst.Status(), quiet: c.quietFor(), fed: c.hadRecords()}
				if s := t.status.State; s == plugin.Running || s == plugin.Unhealthy {
					t.proc = c.process.Load()
				}
				out = append(out, t)
			}
		}
	}
	return out
}

// TableNeighbors is the one table that actions are asked for.
const TableNeighbors = "neighbors"

// Tables asks each plugin that runs and has tables for one of them: actions for
// their neighbors, captures for all else.
func (d *Daemon) Tables(ctx context.Context, name string) ([]PluginTable, error) {
	var asked []asked
	if !d.sys.loop.do(func() {
		if name == TableNeighbors {
			asked = d.actionsWithTables()
		} else {
			asked = withTables(d.inUse())
		}
	}) {
		return nil, ErrEnded
	}
	return ask(ctx, asked, name), nil
}

// asked is a process that has tables.
type asked struct {
	title string
	proc  *plugin.Process
}

func withTables(captures []tapped) (out []asked) {
	for _, c := range captures {
		if c.proc != nil && c.about.Has(host.FeatureTable) {
			out = append(out, asked{c.title(), c.proc})
		}
	}
	return out
}

// actionsWithTables are those that run. The loop's goroutine calls it.
func (d *Daemon) actionsWithTables() (out []asked) {
	for _, name := range slices.Sorted(maps.Keys(d.set.actions)) {
		a := d.set.actions[name]
		if proc := a.running.Load(); proc != nil && a.about.Has(host.FeatureTable) {
			out = append(out, asked{a.block.Name + "." + a.block.Instance, proc})
		}
	}
	return out
}

// tablesOf asks captures.
func tablesOf(ctx context.Context, captures []tapped, name string) []PluginTable {
	return ask(ctx, withTables(captures), name)
}

// ask asks all at the same time: one that hangs keeps nobody waiting.
func ask(ctx context.Context, asked []asked, name string) []PluginTable {
	ctx, cancel := context.WithTimeout(ctx, tableTime)
	defer cancel()
	out := make([]PluginTable, len(asked))
	var all sync.WaitGroup
	for i, a := range asked {
		all.Go(func() {
			rows, err := a.proc.Host().Table(ctx, name)
			out[i] = PluginTable{Plugin: a.title, Rows: rows, Err: err}
		})
	}
	all.Wait()
	room := maxRows
	for i := range out {
		out[i].bound(&room)
	}
	return out
}

// bound cuts a table to what people can use and gives every row a cell for
// each column.
func (t *PluginTable) bound(room *int) {
	r := &t.Rows
	r.Columns = r.Columns[:min(len(r.Columns), maxCells)]
	if len(r.Rows) > *room {
		t.Err = fmt.Errorf("only %d of its %d rows are shown", *room, len(r.Rows))
		r.Rows = r.Rows[:*room]
	}
	*room -= len(r.Rows)
	for i, cells := range r.Rows {
		for len(cells) < len(r.Columns) {
			cells = append(cells, "")
		}
		r.Rows[i] = cells[:len(r.Columns)]
	}
}

// cell returns the cell of a row under a column, "" where there is none.
func (t *PluginTable) cell(row int, column string) string {
	for i, c := range t.Rows.Columns {
		if c == column {
			return t.Rows.Rows[row][i]
		}
	}
	return ""
}

package pipeline

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// witness is what the daemon knows of its open attacks' packets. The loop's
// goroutine owns it, but for the collector.
type witness struct {
	cfg       config.Evidence
	databases []version // of cfg.GeoIP, when they were read
	collector *evidence.Collector
	known     map[string]evidence.Finding // by attack
}

// version tells one version of a file from another.
type version struct {
	size    int64
	changed time.Time
}

func versions(paths []string) (out []version) {
	for _, path := range paths {
		var s version
		if info, err := os.Stat(path); err == nil {
			s = version{info.Size(), info.ModTime()}
		}
		out = append(out, s)
	}
	return out
}

// newWitness starts collecting as a configuration says. Where a database cannot
// be read any more there are no countries; the rest goes on.
func (d *Daemon) newWitness(cfg config.Evidence) *witness {
	w := &witness{cfg: cfg, databases: versions(cfg.GeoIP), known: map[string]evidence.Finding{}}
	if cfg.Packets == 0 {
		return w
	}
	geo, err := evidence.OpenGeo(cfg.GeoIP)
	if err != nil {
		d.sys.log.Warn("evidence names no countries and no AS", "error", err)
	}
	w.collector = evidence.NewCollector(evidence.Options{
		Packets: cfg.Packets, Geo: geo, Log: d.sys.log,
		Files:   &evidence.Files{Dir: cfg.Directory, Keep: cfg.Keep, Max: cfg.MaxSize},
		Sources: d.sources, Area: d.area, Inspectors: d.inspectors,
		Deliver: func(id string, f evidence.Finding, tell bool) {
			d.sys.loop.do(func() { d.learn(w, id, f, tell) })
		},
	})
	return w
}

// close stops collecting, and waits for what is being written.
func (w *witness) close() {
	if w.collector == nil {
		return
	}
	w.collector.Close()
}

// setEvidence follows a change of the evidence block, or of a database that it
// names: what is being collected goes on no further.
func (d *Daemon) setEvidence(cfg config.Evidence) {
	var old *witness
	d.sys.loop.do(func() { old = d.witness })
	if old != nil && sameEvidence(old.cfg, cfg) && slices.Equal(old.databases, versions(cfg.GeoIP)) {
		return
	}
	next := d.newWitness(cfg) // reads files, for which detection does not wait
	d.sys.loop.do(func() {
		if old != nil {
			maps.Copy(next.known, old.known)
		}
		d.witness = next
	})
	if old != nil {
		old.close()
	}
}

func sameEvidence(a, b config.Evidence) bool {
	return a.Packets == b.Packets && a.Keep == b.Keep && a.MaxSize == b.MaxSize && a.Directory == b.Directory && slices.Equal(a.GeoIP, b.GeoIP)
}

// sources are the captures that run, any of which may see an attack.
func (d *Daemon) sources() (out []evidence.Source) {
	d.sys.loop.do(func() {
		for _, name := range slices.Sorted(maps.Keys(d.set.captures)) {
			c := d.set.captures[name]
			if proc := c.process.Load(); proc != nil {
				out = append(out, evidence.Source{Name: c.title(), Sample: proc.Host().Sample})
			}
		}
	})
	return out
}

// inspectors are the actions that judge evidence and run.
func (d *Daemon) inspectors() (out []evidence.Inspector) {
	d.sys.loop.do(func() {
		for _, name := range slices.Sorted(maps.Keys(d.set.actions)) {
			a := d.set.actions[name]
			if proc := a.running.Load(); proc != nil && slices.Contains(a.about.Features, host.FeatureInspector) {
				out = append(out, evidence.Inspector{Name: a.block.Name + "." + a.block.Instance, Inspect: proc.Host().Inspect})
			}
		}
	})
	return out
}

// witnessed keeps evidence in step with an attack's events; the loop's goroutine
// calls it, and it waits for nothing.
func (d *Daemon) witnessed(e *detect.Event, seen *sdk.Event) {
	w := d.witness
	if w == nil || w.collector == nil {
		return
	}
	switch e.Type {
	case detect.Started:
		w.collector.Start(seen)
	case detect.Ended:
		if f, ok := w.collector.End(seen); ok {
			if told := w.known[seen.ID].Report; told != nil {
				f.Report.PCAP, f.Report.Report = told.PCAP, told.Report
			}
			w.known[seen.ID] = f
			w.label(seen)
		}
		delete(w.known, seen.ID)
	}
}

// learn takes what was found, and tells it where it is to be told.
func (d *Daemon) learn(w *witness, id string, f evidence.Finding, tell bool) {
	if w != d.witness {
		return
	}
	e, open := d.sys.loop.detector.Touch(id, d.sys.loop.engine.Clock())
	if !open {
		return
	}
	w.known[id] = f
	if tell {
		d.deliver([]detect.Event{e})
	}
}

// label adds to an event what is known of its attack.
func (w *witness) label(e *sdk.Event) {
	if w != nil {
		if f, ok := w.known[e.ID]; ok {
			e.Label, e.Confidence, e.Evidence = f.Label, f.Confidence, f.Report
			return
		}
	}
	e.Label, e.Confidence, _ = evidence.FromCounters(e)
}

// maxTimelines bounds the attacks whose first minute is drawn at a time.
const maxTimelines = 256

// watchRates notes the rates of attacks in their first minute; the loop's
// goroutine calls it once a second.
func (d *Daemon) watchRates() {
	w := d.witness
	if w == nil || w.collector == nil || !w.collector.Collecting() {
		return
	}
	now := d.sys.loop.engine.Clock()
	n := 0
	for _, a := range d.sys.loop.detector.Attacks(now) {
		if time.Duration(now-a.Started) > evidence.SampleTime+time.Second {
			continue
		}
		if n++; n > maxTimelines {
			return
		}
		e := detect.Event{Type: detect.Updated, Time: now, Attack: a}
		seen := d.wall.event(&e)
		w.collector.Rate(&seen)
	}
}

// closeEvidence ends collecting when the daemon stops.
func (d *Daemon) closeEvidence(ctx context.Context) {
	var w *witness
	d.sys.loop.do(func() { w, d.witness = d.witness, nil })
	if w == nil {
		return
	}
	closed := make(chan struct{})
	go func() { w.close(); close(closed) }()
	select {
	case <-closed:
	case <-ctx.Done():
		d.sys.log.Warn("stopping though evidence is still being written")
	}
}

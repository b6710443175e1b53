package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

// pollTime is how often the files are looked at.
const pollTime = time.Second

// filter is the list in force, and what keeps it up to date.
type filter struct {
	config
	log    hclog.Logger
	mode   sdk.Mode
	inline []netip.Prefix
	except []netip.Prefix
	set    atomic.Pointer[prefix.Set]
	held   atomic.Pointer[string]
	then   verdict.Then

	files   []*prefix.File // of the goroutine that watches them
	stop    context.CancelFunc
	watched sync.WaitGroup
}

func newFilter(c config, env sdk.Env) (*filter, error) {
	ds := c.check()
	f := &filter{config: c, log: env.Logger, mode: env.Mode}
	var more diag.Diagnostics
	f.then, more = verdict.Read(c.Then, c.Class)
	ds = append(ds, more...)
	f.inline, more = parse("prefixes", c.Prefixes)
	ds = append(ds, more...)
	f.except, more = parse("except", c.Except)
	if ds = append(ds, more...); ds.HasErrors() {
		return nil, ds
	}
	return f, nil
}

// Validate reads the lists, so that a mistake in them is found before they are
// in force.
func (f *filter) Validate(context.Context) error {
	files, ds := load(f.Files)
	n := len(f.inline)
	for _, file := range files {
		n += len(file.Prefixes)
	}
	switch {
	case ds.HasErrors() || n > 0:
	case f.Then == verdict.Keep:
		ds = append(ds, diag.Errorf(diag.Path{}.Attr("files"), "Empty list", "The lists hold no prefix: with then = %q all traffic would be dropped.", verdict.Keep))
	default:
		ds = append(ds, diag.Warningf(diag.Path{}.Attr("files"), "Empty list", "The lists hold no prefix: the filter does nothing until they do."))
	}
	if len(ds) > 0 {
		return ds
	}
	return nil
}

// Start reads the lists and watches them from then on.
func (f *filter) Start(context.Context) error {
	files, ds := load(f.Files)
	if ds.HasErrors() {
		return ds
	}
	f.files = files
	f.build()
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	// What a replay counts must not depend on when it is run.
	if len(files) > 0 && f.mode == sdk.ModeRun {
		f.watched.Go(func() { f.watch(ctx) })
	}
	return nil
}

// Close ends the watching.
func (f *filter) Close(context.Context) error {
	if f.stop != nil {
		f.stop()
	}
	f.watched.Wait()
	return nil
}

func (f *filter) watch(ctx context.Context) {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.poll()
		}
	}
}

// poll takes over what has changed.
func (f *filter) poll() {
	changed := false
	for _, file := range f.files {
		if !file.Poll() {
			continue
		}
		if file.Held != "" && !f.Hold {
			if err := file.Load(); err == nil {
				f.log.Info("a list has changed", "file", file.Path, "prefixes", len(file.Prefixes))
				changed = true
				continue
			}
		}
		if file.Held != "" {
			f.log.Warn("a list is held", "why", file.Held)
		} else {
			f.log.Info("a list has changed", "file", file.Path, "prefixes", len(file.Prefixes))
			changed = true
		}
	}
	if changed {
		f.build()
	}
	f.tellHeld()
}

// build makes the set of all lists together.
func (f *filter) build() {
	lists := f.inline[:len(f.inline):len(f.inline)]
	for _, file := range f.files {
		lists = append(lists, file.Prefixes...)
	}
	set := prefix.BuildSet(lists, f.except)
	f.set.Store(set)
	v4, v6 := set.Len()
	f.log.Info("prefixes in force", "listed", len(lists), "ipv4", v4, "ipv6", v6)
}

func (f *filter) tellHeld() {
	var held []string
	for _, file := range f.files {
		if file.Held != "" {
			held = append(held, file.Held)
		}
	}
	text := strings.Join(held, "; ")
	f.held.Store(&text)
}

// Health says which lists are not what their files say.
func (f *filter) Health(context.Context) error {
	if held := f.held.Load(); held != nil && *held != "" {
		return errors.New(*held)
	}
	return nil
}

// NewWorker makes the judge of one capture worker. All of them read the same
// set.
func (f *filter) NewWorker() (sdk.Judge, error) {
	return &judge{f: f, source: f.Match != matchDestination, destination: f.Match != matchSource}, nil
}

type judge struct {
	f                   *filter
	source, destination bool
}

// Judge looks every record up.
func (j *judge) Judge(batch []traffic.Record) error {
	set := j.f.set.Load()
	then := j.f.then
	for i := range batch {
		r := &batch[i]
		if j.source && set.Contains(&r.Src) || j.destination && set.Contains(&r.Dst) {
			r.Class |= then.Class
			r.Verdict = max(r.Verdict, then.Match)
		} else {
			r.Verdict = max(r.Verdict, then.Others)
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// pollTime is how often the script's file is looked at.
const pollTime = time.Second

// filter is the script in force, and what watches over it.
type filter struct {
	config
	mode   sdk.Mode
	log    hclog.Logger
	script atomic.Pointer[script]
	held   atomic.Pointer[string] // why the script in force is not the file's
	limit  time.Duration          // of a script's loading
	errors errorLog
	prints errorLog

	refused    *script // the one that was tried last and not taken
	refusedFor error

	mu     sync.Mutex
	judges map[*judge]*strikes

	stop    context.CancelFunc
	watched sync.WaitGroup
}

func newFilter(c config, env sdk.Env) (*filter, error) {
	if ds := c.check(); ds.HasErrors() {
		return nil, ds
	}
	f := &filter{config: c, mode: env.Mode, log: env.Logger, limit: loadTime, judges: map[*judge]*strikes{}}
	f.errors.log = func(message string, times uint64) {
		f.log.Error("the script failed", "error", message, "times", times)
	}
	f.prints.log = func(message string, times uint64) {
		f.log.Info("the script prints", "text", message, "times", times)
	}
	return f, nil
}

// Validate loads the script once.
func (f *filter) Validate(ctx context.Context) error {
	s, err := readScript(f.Script)
	if err == nil {
		err = s.try(ctx, &f.config, f.limit)
	}
	if err != nil {
		return diag.Errorf(diag.Path{}.Attr("script"), "Script refused", "%v.", err)
	}
	f.script.Store(s)
	return nil
}

// Start watches the script's file, and batches that do not come to an end.
func (f *filter) Start(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.watched.Go(func() { f.guard(ctx) })
	// What a replay counts must not depend on when it is run.
	if f.mode == sdk.ModeRun {
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

// Health says when the script in force is not the file's.
func (f *filter) Health(context.Context) error {
	if held := f.held.Load(); held != nil && *held != "" {
		return errors.New(*held)
	}
	return nil
}

// watch takes over what the file says, once it is the same at two looks.
func (f *filter) watch(ctx context.Context) {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	before := f.script.Load().text
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			before = f.poll(ctx, before)
		}
	}
}

// poll looks at the file, which was before at the last look.
func (f *filter) poll(ctx context.Context, before string) string {
	s, err := readScript(f.Script)
	if err != nil {
		f.hold(err)
		return ""
	}
	switch {
	case s.text == f.script.Load().text:
		f.held.Store(new(string))
	case s.text != before:
	case s.is(f.refused):
		f.hold(f.refusedFor)
	default:
		f.change(ctx, s)
	}
	return s.text
}

// change puts a script in force, unless its trial says what is against it: it
// is tried once only.
func (f *filter) change(ctx context.Context, s *script) {
	err := s.try(ctx, &f.config, f.limit)
	switch {
	case err == nil:
		f.script.Store(s)
		f.held.Store(new(string))
		f.log.Info("the script has changed", "script", f.Script)
		return
	case ctx.Err() != nil: // the filter ends
		return
	case errors.Is(err, errRunsOn):
		f.log.Error("a script that was tried does not end: the process gives up", "script", f.Script)
		exit()
	}
	f.refused, f.refusedFor = s, err
	f.hold(err)
}

// hold keeps the script that is in force.
func (f *filter) hold(err error) {
	text := fmt.Sprintf("the script's file is not taken, the script before it stays in force: %v", err)
	if was := f.held.Load(); was == nil || *was != text {
		f.log.Error("the script's file is not taken, the script before it stays in force", "error", err)
	}
	f.held.Store(&text)
}

// NewWorker makes the judge of one capture worker, with a Lua state of its
// own.
func (f *filter) NewWorker() (sdk.Judge, error) {
	j := &judge{f: f, host: &host{print: f.prints.note}}
	if err := j.load(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judges[j] = &strikes{}
	return j, nil
}

// errorLog writes a line for what happens again and again once a minute, with
// how often it did.
type errorLog struct {
	log   func(message string, times uint64)
	mu    sync.Mutex
	times uint64
	next  time.Time
}

func (l *errorLog) note(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times++
	if now := time.Now(); now.After(l.next) {
		l.log(message, l.times)
		l.times, l.next = 0, now.Add(time.Minute)
	}
}

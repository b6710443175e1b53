package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// webhook tells a web server of events: Notify puts them into the spool, and one
// goroutine for each lane takes them out again.
type webhook struct {
	set    *settings
	log    hclog.Logger
	client *http.Client
	spool  *spool
	dead   *deadLetters

	stop  context.CancelFunc
	lanes sync.WaitGroup
	now   context.CancelFunc // ends requests under way too

	mu      sync.Mutex
	trouble trouble
}

// trouble is what went wrong, for those who look at the plugin's state.
type trouble struct {
	last    error // of the newest request; nil: it went well
	refused uint64
	expired uint64
	lostAt  time.Time // when an event was last lost
	lostWhy string
}

// shownFor is how long a lost event makes the plugin unhealthy.
const shownFor = time.Hour

func newWebhook(c config, env sdk.Env) (*webhook, error) {
	set, err := read(c)
	if err != nil {
		return nil, err
	}
	dir := ""
	if env.StateDir != "" {
		dir = filepath.Join(env.StateDir, "spool")
	}
	return &webhook{
		set: set, log: env.Logger, client: newClient(set),
		spool: newSpool(dir, int64(set.Spool), set.Concurrency), dead: newDeadLetters(env.StateDir),
	}, nil
}

// Start takes up what was not told before the plugin ended.
func (w *webhook) Start(context.Context) error {
	if err := w.spool.open(); err != nil {
		w.log.Error("some events of before the start are lost, or the spool cannot be used", "error", err)
	}
	var life, now context.Context
	life, w.stop = context.WithCancel(context.Background())
	now, w.now = context.WithCancel(context.Background())
	for lane := range w.spool.lanes {
		w.lanes.Go(func() { w.run(life, now, lane) })
	}
	return nil
}

// closing is what requests under way have to end.
const closing = time.Second

// Close ends the requests. What was not told waits on disk.
func (w *webhook) Close(ctx context.Context) error {
	w.stop()
	over := make(chan struct{})
	go func() {
		w.lanes.Wait()
		close(over)
	}()
	timer := time.NewTimer(closing)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-ctx.Done():
	}
	w.now()
	<-over
	w.client.CloseIdleConnections()
	if n, _, _, _ := w.spool.state(); n > 0 && w.spool.dir == "" {
		w.log.Error("events that were not told are lost: there is no directory for them", "events", n)
	}
	return nil
}

// Notify takes an event; it does not wait for the server, unless a person tries
// the action and wants to see the answer.
func (w *webhook) Notify(ctx context.Context, e sdk.Event) error {
	if !slices.Contains(w.set.Events, string(e.Type)) {
		return nil
	}
	l, err := w.write(&e)
	if err != nil {
		return err
	}
	if strings.HasPrefix(e.ID, sdk.TestPrefix) {
		if f := w.post(ctx, l); f != nil {
			return f
		}
		return nil
	}
	for _, lost := range w.spool.add(l) {
		w.lose(lost, "the spool was full (spool_size)")
	}
	return nil
}

// write makes the letter of an event.
func (w *webhook) write(e *sdk.Event) (*letter, error) {
	lane := fnv.New32a()
	_, _ = lane.Write([]byte(e.ID)) // never fails
	l := &letter{Key: e.Key(), Event: string(e.Type), Lane: lane.Sum32(), Time: time.Now()}
	var err error
	if w.set.template == nil {
		l.Body, err = json.Marshal(e)
	} else {
		l.Body, err = w.set.template.Render(e)
	}
	if err != nil {
		w.mu.Lock()
		w.trouble.lostAt, w.trouble.lostWhy = time.Now(), err.Error()
		w.mu.Unlock()
		return nil, fmt.Errorf("event %s cannot be written: %w", l.Key, err)
	}
	return l, nil
}

// run tells the letters of a lane until life is done, one after the other.
func (w *webhook) run(life, now context.Context, lane int) {
	for life.Err() == nil {
		e, l, err := w.spool.first(lane)
		switch {
		case e == nil:
			select {
			case <-w.spool.lanes[lane]:
			case <-life.Done():
			}
			continue
		case err != nil:
			w.log.Error("an event of the spool cannot be read and is lost", "key", e.key, "error", err)
			w.lose(&letter{Key: e.key, Time: e.taken}, "its file cannot be read: "+err.Error())
		case !w.deliver(life, now, l):
			return
		}
		w.spool.done(e)
	}
}

// deliver tries a letter until it is told or given up; false means that life
// was over before.
func (w *webhook) deliver(life, now context.Context, l *letter) (settled bool) {
	pause := w.set.Retry
	for {
		if age := time.Since(l.Time); age > w.set.MaxAge {
			w.lose(l, fmt.Sprintf("it could not be told in %s (max_age)", w.set.MaxAge))
			return true
		}
		f := w.post(now, l)
		if f != nil && now.Err() != nil {
			return false
		}
		w.note(f)
		switch {
		case f == nil:
			return true
		case f.final:
			w.lose(l, "the server refuses it: "+f.why)
			return true
		}
		wait := max(pause, f.after)
		w.log.Warn("an event was not taken, and is sent again", "key", l.Key, "again_in", wait, "error", f.why)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-life.Done():
			timer.Stop()
			return false
		}
		pause = min(2*pause, w.set.RetryMost)
	}
}

func (w *webhook) note(f *failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble.last = nil
	if f != nil {
		w.trouble.last = f
	}
}

// lose counts and keeps a letter that is not told.
func (w *webhook) lose(l *letter, why string) {
	w.mu.Lock()
	switch {
	case strings.HasPrefix(why, "the server refuses"):
		w.trouble.refused++
	case strings.HasSuffix(why, "(max_age)"):
		w.trouble.expired++
	}
	w.trouble.lostAt, w.trouble.lostWhy = time.Now(), why
	w.mu.Unlock()
	w.log.Error("an event is not told", "key", l.Key, "event", l.Event, "why", why)
	if err := w.dead.add(l, why); err != nil {
		w.log.Error("an event that is not told cannot be kept either", "key", l.Key, "error", err)
	}
}

// Health complains while events wait for a server that does not take them, and
// for an hour after one was lost.
func (w *webhook) Health(context.Context) error {
	waiting, since, dropped, fault := w.spool.state()
	w.mu.Lock()
	t := w.trouble
	w.mu.Unlock()
	var errs []error
	if t.last != nil && waiting > 0 {
		errs = append(errs, fmt.Errorf("%d events wait, the oldest since %s: %w", waiting, since.UTC().Format(time.RFC3339), t.last))
	}
	if !t.lostAt.IsZero() && time.Since(t.lostAt) < shownFor {
		errs = append(errs, fmt.Errorf("events were lost since the start (%d found no room, %d refused, %d too old), the last one at %s: %s",
			dropped, t.refused, t.expired, t.lostAt.UTC().Format(time.RFC3339), t.lostWhy))
	}
	if fault != nil {
		errs = append(errs, fmt.Errorf("events that wait are lost with the plugin, since they cannot be written to disk: %w", fault))
	}
	return errors.Join(errs...)
}

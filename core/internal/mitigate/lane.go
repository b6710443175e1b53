package mitigate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	callTime        = 10 * time.Second // of one call, unless the block sets its own
	previewBatch    = 64
	previewsAtATime = 8
	// reportBatch and reportPause bound what a plugin may say: 100,000 words a
	// second.
	reportBatch = 1000
	reportPause = 10 * time.Millisecond
)

// lane is what one action is told, one call after the other: one that hangs keeps
// nobody else waiting.
type lane struct {
	m     *Manager
	block string
	wake  chan struct{}
	end   context.CancelFunc

	// Under the manager's lock.
	plugin    Plugin // nil: it does not run
	timeout   time.Duration
	previews  bool
	conn      uint64
	empty     bool // it is to hold nothing: it is about to be stopped
	tries     int
	notBefore time.Time
	forget    context.CancelFunc // ends the watching
}

func newLane(m *Manager, block string) *lane {
	return &lane{m: m, block: block, wake: make(chan struct{}, 1), end: func() {}, forget: func() {}}
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// up takes a process; the manager's lock is held.
func (l *lane) up(p Plugin, conn uint64) {
	l.forget()
	ctx, cancel := context.WithCancel(context.Background())
	l.plugin, l.conn, l.forget, l.tries, l.notBefore = p, conn, cancel, 0, time.Time{}
	go l.watch(ctx, p, conn)
}

// down forgets it; the manager's lock is held.
func (l *lane) down() {
	l.forget()
	l.plugin, l.conn = nil, 0
}

func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			l.m.mu.Lock()
			l.forget()
			l.m.mu.Unlock()
			return
		case <-l.wake:
		}
		for ctx.Err() == nil && l.work(ctx) {
		}
	}
}

// watch takes what a plugin says, for as long as the process runs.
func (l *lane) watch(ctx context.Context, p Plugin, conn uint64) {
	for ctx.Err() == nil {
		n := 0
		err := p.WatchMitigations(ctx, func(s sdk.MitigationStatus) {
			l.m.mu.Lock()
			l.m.machine.now = l.m.opt.Clock()
			l.m.machine.Report(l.block, conn, s)
			l.m.mu.Unlock()
			l.m.nudge()
			if n++; n%reportBatch == 0 {
				time.Sleep(reportPause)
			}
		})
		if err != nil && ctx.Err() == nil {
			l.m.log.Debug("a plugin does not say what it holds", "action", l.block, "error", err)
		}
		pause(ctx, time.Second)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// work makes the calls that are due; true means that there may be more.
func (l *lane) work(ctx context.Context) (more bool) {
	m := l.m
	m.mu.Lock()
	p, conn, c := l.plugin, l.conn, l.caller()
	if p == nil || time.Now().Before(l.notBefore) {
		m.mu.Unlock()
		return false
	}
	m.machine.now = m.opt.Clock()
	var jobs []Job
	if !m.machine.Withdrawing(l.block) {
		jobs = m.machine.Previews(l.block, previewBatch)
	}
	m.mu.Unlock()
	if len(jobs) > 0 {
		l.preview(ctx, c, jobs)
		return true
	}
	m.mu.Lock()
	if !m.machine.Behind(l.block) || l.conn != conn {
		m.mu.Unlock()
		return false
	}
	set, version := m.machine.Set(l.block)
	if l.empty {
		set = nil
	}
	m.mu.Unlock()
	m.commit(firstTime) // what is announced is in the journal first
	call, cancel := context.WithTimeout(ctx, c.timeout)
	err := p.Sync(call, set)
	cancel()
	return l.synced(conn, version, err)
}

// synced takes the outcome of a Sync.
func (l *lane) synced(conn, version uint64, err error) (more bool) {
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	m.machine.Synced(l.block, conn, version, err)
	m.nudge()
	if err == nil {
		l.tries = 0
		return true
	}
	if l.conn != conn {
		return true
	}
	l.tries++
	wait := backoff(l.tries)
	l.notBefore = time.Now().Add(wait)
	time.AfterFunc(wait, l.nudge)
	m.log.Error("an action did not take what it is to hold: it is told again", "action", l.block, "in", wait, "error", err)
	return false
}

// preview asks what mitigations would come to, several at a time. Where something
// is to be taken back meanwhile, the rest is asked later.
func (l *lane) preview(ctx context.Context, c caller, jobs []Job) {
	type answer struct {
		announced []sdk.Announcement
		err       error
	}
	answers := make([]answer, len(jobs))
	if c.previews {
		slots := make(chan struct{}, previewsAtATime)
		var all sync.WaitGroup
		asked := 0
		for i := range jobs {
			slots <- struct{}{}
			if l.withdrawing() {
				break
			}
			asked++
			all.Go(func() {
				defer func() { <-slots }()
				answers[i].announced, answers[i].err = c.ask(ctx, jobs[i].mitigation)
			})
		}
		all.Wait()
		jobs = jobs[:asked]
	} else {
		for i := range jobs {
			answers[i].announced, answers[i].err = c.ask(ctx, jobs[i].mitigation)
		}
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.machine.now = l.m.opt.Clock()
	for i := range jobs {
		l.m.machine.Previewed(jobs[i], answers[i].announced, answers[i].err)
	}
	l.m.nudge()
}

func (l *lane) withdrawing() bool {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	return l.m.machine.Withdrawing(l.block)
}

// caller is how a process is asked.
type caller struct {
	plugin   Plugin
	timeout  time.Duration
	previews bool
}

// caller is that of the process that runs; the manager's lock is held.
func (l *lane) caller() caller { return caller{l.plugin, l.timeout, l.previews} }

// ask previews one mitigation.
func (c caller) ask(ctx context.Context, x sdk.Mitigation) ([]sdk.Announcement, error) {
	if !c.previews {
		if len(x.Attributes) > 0 {
			return nil, errors.New("the plugin takes no attributes")
		}
		return unknown(&x), nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.plugin.Preview(ctx, x)
}

// unknown is what a mitigation of a plugin that does not preview is taken for.
func unknown(x *sdk.Mitigation) []sdk.Announcement {
	return []sdk.Announcement{{Prefix: x.Target, Text: "all traffic to " + sdk.TargetText(x.Target), Discard: true}}
}

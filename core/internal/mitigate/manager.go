package mitigate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Plugin is a running process behind an action.
type Plugin interface {
	Preview(ctx context.Context, m sdk.Mitigation) ([]sdk.Announcement, error)
	Sync(ctx context.Context, desired []sdk.Mitigation) error
	WatchMitigations(ctx context.Context, report func(sdk.MitigationStatus)) error
}

// Options are what a manager needs. Zero values have defaults.
type Options struct {
	Log     hclog.Logger
	Journal string         // file; "": nothing is kept over a restart
	Clock   func() Moment  // Now
	Boot    string         // BootID()
	NewID   func() string  // random
	Changed func([]Change) // is told of changes, in order; must not wait
	Guard   *Guard         // until Reconfigure
	Judge   Judge
}

const (
	tickEvery = 100 * time.Millisecond
	// firstTime bounds how long what is to be done waits to be written down
	// first: it is more than a disk usually takes, and no disk may hold up an
	// announcement.
	firstTime = 100 * time.Millisecond
	// commitTime bounds how long those wait who read what was written.
	commitTime = time.Second
	// markEvery is how often the journal is told the time.
	markEvery = 10 * time.Second
	// lateAfter is when something that is not in force is an alarm.
	lateAfter = 5 * time.Second
	// maxInbox bounds the attacks that wait to be looked at.
	maxInbox = 50_000
)

// Manager keeps the machine, its journal, and a lane for each action.
type Manager struct {
	opt  Options
	log  hclog.Logger
	ctx  context.Context // of lanes
	stop context.CancelFunc
	wake chan struct{}
	book *book

	mu      sync.Mutex
	machine *Machine
	lanes   map[string]*lane
	audit   []Audit
	marked  time.Duration // when the journal was last told the time
	// recurred: the journal does not know of recurrences as they are.
	recurred bool

	box   sync.Mutex
	inbox map[string]*Attack
	order []string
	lost  uint64 // attacks that found no room
}

// New makes a manager and reads its journal. Run does the work.
func New(opt Options) *Manager {
	if opt.Clock == nil {
		opt.Clock = Now
	}
	if opt.NewID == nil {
		opt.NewID = randomID
	}
	if opt.Log == nil {
		opt.Log = hclog.NewNullLogger()
	}
	if opt.Boot == "" {
		opt.Boot = opt.NewID() // every start counts as one of the machine
	}
	m := &Manager{opt: opt, log: opt.Log, wake: make(chan struct{}, 1), lanes: map[string]*lane{}, inbox: map[string]*Attack{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.machine = NewMachine(opt.Guard, opt.NewID, opt.Clock())
	m.book = newBook(opt.Journal, opt.Log, m.everything)
	m.restore()
	if opt.Judge != nil {
		m.machine.Reconfigure(opt.Guard, opt.Judge)
	}
	return m
}

func randomID() string {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil { // it does not fail (crypto/rand)
		panic(err)
	}
	return hex.EncodeToString(b[:])
}

// Offer tells of an attack; it never waits. Of several words on one attack the
// last one counts.
func (m *Manager) Offer(a Attack) {
	m.box.Lock()
	defer m.box.Unlock()
	id := a.Event.ID
	if m.inbox[id] == nil {
		if len(m.inbox) >= maxInbox && !a.Over {
			m.lost++
			return
		}
		m.order = append(m.order, id)
	}
	m.inbox[id] = &a
	m.nudge()
}

func (m *Manager) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx is done, and then until everything is written down.
func (m *Manager) Run(ctx context.Context) {
	defer m.stop()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-m.wake:
		case <-tick.C:
		}
		m.turn()
	}
	m.mu.Lock()
	m.marked = 0
	m.mu.Unlock()
	m.commit(commitTime)
	m.book.close()
}

// turn takes what has come, does what time brings, and tells of it.
func (m *Manager) turn() {
	m.box.Lock()
	inbox, order := m.inbox, m.order
	m.inbox, m.order = map[string]*Attack{}, nil
	m.box.Unlock()

	m.mu.Lock()
	m.machine.Tick(m.opt.Clock())
	for _, id := range order {
		m.machine.Attack(inbox[id])
	}
	m.machine.Retry()
	changes := m.machine.Changes()
	for block, l := range m.lanes {
		if l.plugin != nil && (m.machine.Behind(block) || m.machine.previewDue(block)) {
			l.nudge()
		}
	}
	m.mu.Unlock()
	if len(changes) > 0 && m.opt.Changed != nil {
		m.opt.Changed(changes)
	}
	m.mu.Lock()
	m.file(false)
	m.mu.Unlock()
}

// restore reads the journal.
func (m *Manager) restore() {
	left, err := m.book.load()
	if err != nil {
		return
	}
	shift, known := time.Duration(0), left.last != tick{}
	if known && left.last.Boot != m.opt.Boot { // the machine was started again: what time it was off is not known
		shift = m.machine.now.Boot - left.last.At
	}
	for _, e := range left.entries {
		m.machine.restore(e, shift)
		if !known {
			m.machine.curb(e)
		}
	}
	for _, r := range left.recur {
		r.Until += shift
		m.machine.recur[key{Action: r.Action, Target: r.Target, Direction: r.Direction}] = r.recurrence
	}
	for _, at := range left.begun {
		m.machine.tally.begun = append(m.machine.tally.begun, at+shift)
	}
	for _, k := range left.refused {
		m.machine.earlier[k] = m.machine.now.Boot + restartGrace
	}
	m.recurred = m.recurred || len(left.recur) > 0
	if n := len(left.entries); n > 0 {
		m.log.Info("mitigations taken over from the journal", "mitigations", n)
	}
}

// Up says that an action's process runs. timeout bounds a call to it, 0 meaning
// the default; previews tells whether it can preview.
func (m *Manager) Up(block string, p Plugin, timeout time.Duration, previews bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lanes[block]
	if l == nil {
		l = newLane(m, block)
		m.lanes[block] = l
		var ctx context.Context
		ctx, l.end = context.WithCancel(m.ctx)
		go l.run(ctx)
	}
	l.timeout, l.previews = cmp.Or(timeout, callTime), previews
	m.machine.now = m.opt.Clock()
	l.up(p, m.machine.Up(block))
	l.nudge()
	m.nudge()
}

// Down says that a process does not run any more. It is told of the process that Up was.
func (m *Manager) Down(block string, p Plugin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lanes[block]
	if l == nil || l.plugin != p {
		return
	}
	m.machine.now = m.opt.Clock()
	m.machine.Down(block)
	l.down()
	m.nudge()
}

// Reconfigure puts another guard and configuration in force. Actions that have not
// said yet what they protect are awaited, for a while, before anything new is
// announced.
func (m *Manager) Reconfigure(guard *Guard, judge Judge, awaited []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.now = m.opt.Clock()
	m.machine.Await(awaited)
	m.machine.Reconfigure(guard, judge)
	m.nudge()
}

// Withdraw has a plugin take back all that it holds, before it is stopped; what
// is wanted stays wanted. It returns when the plugin has said so, or ctx is done.
func (m *Manager) Withdraw(ctx context.Context, block string) error {
	m.mu.Lock()
	l := m.lanes[block]
	if l != nil {
		l.empty = true
		m.machine.plugin(block).version++
		l.nudge()
	}
	m.mu.Unlock()
	return m.await(ctx, block, func() bool {
		return l == nil || l.plugin == nil || !m.machine.Behind(block) && m.machine.Remaining(block) == 0
	})
}

// Remove releases all of a block's mitigations and forgets it.
func (m *Manager) Remove(ctx context.Context, block, cause string) {
	m.mu.Lock()
	l := m.lanes[block]
	for _, e := range m.machine.of(block) {
		m.machine.refuse(e)
		m.machine.release(e, cause)
	}
	m.nudge()
	m.mu.Unlock()
	if err := m.await(ctx, block, func() bool { return l == nil || l.plugin == nil || len(m.machine.of(block)) == 0 }); err != nil {
		m.log.Error("an action that is no longer configured did not take back what it holds", "action", block, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machine.Abandon(block)
	if l != nil {
		l.end()
		delete(m.lanes, block)
	}
	m.nudge()
}

// await looks every few milliseconds whether something is so.
func (m *Manager) await(ctx context.Context, block string, so func() bool) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		m.mu.Lock()
		done := so()
		m.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", block, ctx.Err())
		case <-poll.C:
		}
	}
}

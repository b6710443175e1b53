package store

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// HistoryFile is the history's name in the state directory.
const HistoryFile = "history.db"

const historyKind = "history"

const (
	// pace is between two transactions: what changes meanwhile is written once.
	pace = 250 * time.Millisecond
	// batch is how many attacks one transaction writes.
	batch = 1000
	// maxPending bounds the attacks that wait to be written, maxEvidence those
	// of them with evidence, which is some 20 kB each.
	maxPending  = 8192
	maxEvidence = 1024
	// againAfter is when what failed is tried again, unless HistoryOptions says.
	againAfter = 5 * time.Second
	// lookEvery is how often it is looked whether the file is still there, and
	// damaged ones beside it.
	lookEvery = time.Minute
	// retainEvery is how often it is looked for what is too old or too much.
	retainEvery = 10 * time.Minute
	// retainAfter is after how many transactions, in a storm.
	retainAfter = 32
	// endTime bounds what Close takes.
	endTime = 5 * time.Second
)

// Retention says what a history may keep.
type Retention struct {
	Keep time.Duration // since an attack's start
	Max  uint64        // octets of the file
}

// HistoryOptions are what a History needs.
type HistoryOptions struct {
	Path      string
	Retention func() Retention // asked each time
	Log       hclog.Logger
	Again     time.Duration // when what failed is tried again; 0: after 5 s
}

// History writes every attack into a file, off the path of events: Offer never
// waits. While the file cannot be written attacks wait, up to a bound; what is
// lost beyond it is counted.
type History struct {
	opt  HistoryOptions
	ctx  context.Context
	stop context.CancelFunc
	wake chan struct{} // holds a token while something waits to be written
	done chan struct{}
	db   atomic.Pointer[DB] // nil: it is not open

	mu       sync.Mutex
	pending  map[string]*sdk.Event // by id, the newest event
	order    []string              // of pending, the longest waiting first
	evidence int                   // of pending, those with evidence
	live     map[string]struct{}   // attacks of this run that go on
	offered  uint64                // events so far
	settled  uint64                // of them, those that are written or lost
	written  uint64                // attacks, each time
	lost     uint64                // events that found no room, or could not be written
	fault    error
	since    time.Time // of fault
	asides   []string  // damaged files
	size     int64     // octets of the file that are in use; 0: it is not open

	// Of the goroutine that writes.
	enc      encoder
	retained time.Time
	batches  int
}

// OpenHistory begins to keep a history. That its file cannot be opened is no
// error: it is tried again and again, and Troubles tells.
func OpenHistory(opt HistoryOptions) *History {
	h := &History{
		opt: opt, wake: make(chan struct{}, 1), done: make(chan struct{}),
		pending: map[string]*sdk.Event{}, live: map[string]struct{}{},
	}
	h.opt.Again = cmp.Or(opt.Again, againAfter)
	h.ctx, h.stop = context.WithCancel(context.Background())
	go h.run()
	return h
}

// Offer takes an event of an attack, to be written soon. It copies what it
// keeps but for what no event changes. Summaries are no attacks.
func (h *History) Offer(e *sdk.Event) {
	switch e.Type {
	case sdk.AttackStarted, sdk.AttackUpdated, sdk.AttackEnded:
	default:
		return
	}
	if e.Summary != nil || e.ID == "" {
		return
	}
	kept := *e
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offered++
	if e.Type == sdk.AttackEnded {
		delete(h.live, e.ID)
	} else {
		h.live[e.ID] = struct{}{}
	}
	before := h.pending[e.ID]
	if before == nil && len(h.pending) >= maxPending {
		h.lost++
		h.settled++
		return
	}
	if before != nil && before.Evidence != nil {
		h.evidence--
	}
	if kept.Evidence != nil {
		if h.evidence >= maxEvidence {
			kept.Evidence = nil // what comes later has it again
		} else {
			h.evidence++
			told := *kept.Evidence
			told.Dump = nil // it is in the files
			kept.Evidence = &told
		}
	}
	if before == nil {
		h.order = append(h.order, e.ID)
	} else {
		h.settled++ // the older one need not be written any more
	}
	h.pending[e.ID] = &kept
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run writes until Close.
func (h *History) run() {
	defer close(h.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for h.ctx.Err() == nil {
		if err := h.work(); err != nil {
			h.failed(err)
			sleep(h.ctx, h.opt.Again)
			continue
		}
		sleep(h.ctx, pace)
		select {
		case <-h.wake:
		case <-tick.C:
		case <-h.ctx.Done():
		}
	}
	h.finish()
}

// work opens the file where it is not, writes what waits, and removes what is
// too old. What cannot be used is opened anew once.
func (h *History) work() error {
	db := h.db.Load()
	if db == nil {
		var err error
		if db, err = h.open(); err != nil {
			return err
		}
	} else if h.findAsides(); !db.InPlace() {
		h.opt.Log.Warn("the attack history was removed or replaced: it is opened again", "path", h.opt.Path)
		if err := h.reopen(db); err != nil {
			return err
		}
	}
	for checked := false; ; {
		n, err := h.flush(db)
		if err == nil && (time.Since(h.retained) >= retainEvery || h.batches >= retainAfter) {
			err = h.retain(db)
		}
		if errors.Is(err, ErrCorrupt) && !checked {
			checked = true
			h.opt.Log.Error("the attack history cannot be used: it is checked", "error", err)
			if err = h.reopen(db); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		h.healed(db)
		if n == 0 {
			return nil
		}
	}
}

func (h *History) open() (*DB, error) {
	h.findAsides()
	db, err := Open(h.opt.Path, Options{Kind: historyKind}, historyMigrations...)
	if err != nil {
		return nil, err
	}
	if aside := db.SetAside(); aside != "" {
		h.opt.Log.Error("the attack history was damaged and is set aside: a new one is begun", "damaged", aside)
	}
	h.findAsides()
	if err := h.begin(db); err != nil {
		_ = db.Close()
		return nil, err
	}
	h.db.Store(db)
	return db, nil
}

// reopen checks the file and opens it again, or a new one.
func (h *History) reopen(db *DB) error {
	err := db.Reopen()
	if aside := db.SetAside(); aside != "" {
		h.opt.Log.Error("the attack history was damaged and is set aside: a new one is begun", "damaged", aside)
	}
	h.findAsides()
	if err == nil {
		err = h.begin(db)
	}
	return err
}

// begin marks what an earlier run has left open.
func (h *History) begin(db *DB) error {
	h.mu.Lock()
	live := make(map[string]struct{}, len(h.live))
	for id := range h.live {
		live[id] = struct{}{}
	}
	h.mu.Unlock()
	n := 0
	err := db.Update(func(tx *bbolt.Tx) (err error) {
		t := tablesOf(tx)
		n, err = t.interrupt(live)
		return err
	})
	if err == nil && n > 0 {
		h.opt.Log.Warn("attacks that were open when the daemon stopped are marked as interrupted", "attacks", n)
	}
	return err
}

func (h *History) findAsides() {
	names, _ := filepath.Glob(h.opt.Path + ".damaged-*") // a pattern of ours is sound
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asides = names
}

// flush writes a batch of what waits, and returns how many attacks that were.
func (h *History) flush(db *DB) (int, error) {
	h.mu.Lock()
	ids := slices.Clone(h.order[:min(len(h.order), batch)])
	events := make([]*sdk.Event, len(ids))
	for i, id := range ids {
		events[i] = h.pending[id]
	}
	h.mu.Unlock()
	if len(ids) == 0 {
		return 0, nil
	}
	encoded := make([][]byte, len(ids))
	bad := 0
	for i, e := range events {
		var err error
		if encoded[i], err = h.enc.encode(e); err != nil {
			bad++
			h.opt.Log.Warn("an attack cannot be kept in the history", "id", e.ID, "error", err)
		}
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		t := tablesOf(tx)
		for i, e := range events {
			if encoded[i] != nil {
				if err := t.put(e, encoded[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	h.batches++
	h.settle(ids, events, bad)
	return len(ids), nil
}

// settle forgets what has been written, but for what has changed meanwhile.
func (h *History) settle(ids []string, events []*sdk.Event, bad int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.order = slices.Delete(h.order, 0, len(ids))
	for i, id := range ids {
		h.settled++
		if h.pending[id] != events[i] {
			h.settled-- // Offer has counted it when it replaced it
			h.order = append(h.order, id)
			continue
		}
		if events[i].Evidence != nil {
			h.evidence--
		}
		delete(h.pending, id)
	}
	h.lost += uint64(bad)
	h.written += uint64(len(ids) - bad)
}

// Settle waits until what was offered so far is written, or cannot be, or ctx
// is done.
func (h *History) Settle(ctx context.Context) {
	h.mu.Lock()
	upTo := h.offered
	h.mu.Unlock()
	for ctx.Err() == nil {
		h.mu.Lock()
		done := h.settled >= upTo || h.fault != nil
		h.mu.Unlock()
		if done {
			return
		}
		sleep(ctx, 10*time.Millisecond)
	}
}

// finish writes what still waits, and marks what is open.
func (h *History) finish() {
	db := h.db.Load()
	if db == nil {
		return
	}
	for n := 1; n > 0; {
		var err error
		if n, err = h.flush(db); err != nil {
			h.opt.Log.Error("the attack history lacks what came last", "error", err)
			break
		}
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		t := tablesOf(tx)
		_, err := t.interrupt(nil)
		return err
	}); err != nil {
		h.opt.Log.Warn("attacks that are open now cannot be marked as interrupted yet", "error", err)
	}
	h.db.Store(nil)
	_ = db.Close() // all is synced
}

// Close writes what waits, for five seconds at most. Attacks that are open are
// interrupted.
func (h *History) Close() {
	h.stop()
	select {
	case <-h.done:
	case <-time.After(endTime):
		h.opt.Log.Error("stopping though the attack history is still being written", "path", h.opt.Path)
	}
}

// sleep waits; it ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

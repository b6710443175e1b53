package mitigate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// book is the journal with a goroutine behind it: a disk that hangs or is full
// keeps nobody from acting. What could not be written stays in memory and is
// written when that is possible again.
type book struct {
	path string
	log  hclog.Logger
	all  func() (open, rest map[string][]byte) // everything but what is over
	wake chan struct{}
	over chan struct{} // closed when nothing more is written

	mu      sync.Mutex
	journal *store.Journal
	next    *page
	busy    *page // being written
	since   time.Time
	trouble string // why nothing is written
	aside   string // a damaged journal's name
	whole   bool   // something was not written: all of it is to be, next time
	closing bool

	past  []sdk.MitigationReport // newest last
	audit []Audit
}

// page is what is written together.
type page struct {
	store.JournalChange
	done  chan struct{}
	timed bool // it is written in a while, if nobody waits for it before
}

var errNotOpen = errors.New("the journal is not open")

const (
	reopenEvery = 5 * time.Second
	// slowAfter is when a journal that is being written is a trouble.
	slowAfter = 5 * time.Second
	// keptInMemory bounds what is kept of what is over.
	keptInMemory = 1000
	closeTime    = 3 * time.Second
	// gatherTime is how long what nobody waits for is gathered before it is
	// written.
	gatherTime = 20 * time.Millisecond
)

func newBook(path string, log hclog.Logger, all func() (open, rest map[string][]byte)) *book {
	b := &book{path: path, log: log, all: all, wake: make(chan struct{}, 1), over: make(chan struct{})}
	if path == "" {
		close(b.over)
		return b
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		b.open() // else with the first thing to write
	}
	go b.run()
	return b
}

// open opens the journal, or says why it cannot.
func (b *book) open() {
	j, err := store.OpenJournal(b.path, store.Options{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle(err)
	if err != nil {
		return
	}
	b.journal = j
	b.noteAside()
}

func (b *book) noteAside() {
	if name := b.journal.SetAside(); name != "" && name != b.aside {
		b.aside = name
		b.log.Error("the journal of mitigations was damaged and has been set aside: what was in force before is not known", "now", name)
	}
}

// settle notes whether the journal can be written.
func (b *book) settle(err error) {
	was := b.trouble
	b.trouble = ""
	if err != nil {
		b.trouble = fmt.Sprintf("mitigations are not kept over a restart: the journal %v", err)
		if was == "" {
			b.log.Error("the journal of mitigations cannot be written: what is to be done is done all the same, and would be forgotten by a restart", "error", err)
		}
		b.whole = true
		return
	}
	if was != "" {
		b.log.Info("the journal of mitigations is written again")
	}
}

// load reads what the last daemon left.
func (b *book) load() (left legacy, err error) {
	b.mu.Lock()
	j, bad := b.journal, b.trouble != ""
	b.mu.Unlock()
	if j == nil && bad { // what may not be written can perhaps be read
		if j, err = store.OpenJournal(b.path, store.Options{ReadOnly: true}); err == nil {
			defer func() { _ = j.Close() }() // it was only read
		}
	}
	if j == nil {
		return left, err
	}
	open, rest, err := j.Load()
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.settle(err)
		return left, err
	}
	for id, v := range open {
		e, bad := decode(v)
		if bad != nil || e.ID != id || !e.Target.IsValid() {
			b.log.Error("a mitigation in the journal cannot be read", "id", id, "error", bad)
			continue
		}
		left.entries = append(left.entries, e)
	}
	_ = json.Unmarshal(rest["clock"], &left.last)      // without it times are taken for ours
	_ = json.Unmarshal(rest["recur"], &left.recur)     // without it nothing is a recurrence
	_ = json.Unmarshal(rest["refused"], &left.refused) // without it nothing is refused
	_ = json.Unmarshal(rest["begun"], &left.begun)     // without it none has begun
	return left, nil
}

// legacy is what an earlier daemon left.
type legacy struct {
	entries []*entry
	recur   []storedRecurrence
	refused []key
	begun   []time.Duration // when the newest were let pass
	last    tick
}

// storedRecurrence is a recurrence in the journal.
type storedRecurrence struct {
	Action    string
	Target    netip.Prefix
	Direction string
	recurrence
}

// write hands over a change and gives what is closed when it has been dealt with.
// What nobody waits for is written a little later, with what comes meanwhile: a
// request is so written with what the guards say of it, and keeps no disk busy
// that somebody else waits for.
func (b *book) write(c *store.JournalChange, now bool) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" || b.closing {
		done := make(chan struct{})
		close(done)
		return done
	}
	if b.next == nil {
		b.next = &page{done: make(chan struct{})}
		b.next.Open, b.next.Rest = map[string][]byte{}, map[string][]byte{}
	}
	b.next.merge(c)
	if now {
		b.nudge()
	} else if !b.next.timed {
		b.next.timed = true
		time.AfterFunc(gatherTime, b.nudge)
	}
	return b.next.done
}

func (b *book) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// writing is closed when what was handed over before has been dealt with.
func (b *book) writing() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.next != nil && (b.journal != nil || b.trouble == ""): // it is opened with its first page
		b.nudge()
		return b.next.done
	case b.busy != nil:
		return b.busy.done
	}
	done := make(chan struct{})
	close(done)
	return done
}

func (p *page) merge(c *store.JournalChange) {
	for k, v := range c.Open {
		p.Open[k] = v
	}
	for k, v := range c.Rest {
		p.Rest[k] = v
	}
	p.Past = lastOf(append(p.Past, c.Past...), keptInMemory)
	p.Audit = lastOf(append(p.Audit, c.Audit...), keptInMemory)
}

func lastOf[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func (b *book) run() {
	defer close(b.over)
	retry := time.NewTicker(reopenEvery)
	defer retry.Stop()
	for {
		select {
		case <-b.wake:
			b.flush()
		case <-retry.C:
			b.mend()
		}
		b.mu.Lock()
		closing := b.closing && b.next == nil
		b.mu.Unlock()
		if closing {
			return
		}
	}
}

// flush writes what waits.
func (b *book) flush() {
	b.mu.Lock()
	if b.next != nil && b.journal == nil && b.trouble == "" {
		b.mu.Unlock()
		b.open()
		b.mu.Lock()
	}
	p, j := b.next, b.journal
	if p == nil {
		b.mu.Unlock()
		return
	}
	b.next, b.busy, b.since = nil, p, time.Now()
	whole := b.whole
	b.mu.Unlock()
	var err error
	if j == nil {
		err = errNotOpen
	} else {
		if whole {
			p.Open, p.Rest = b.all()
			p.Whole = true
		}
		err = j.Write(&p.JournalChange)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = nil
	if j != nil {
		b.settle(err)
	}
	if err == nil {
		b.whole = b.whole && !whole
	} else if !b.closing { // what is over and what people did is tried again
		if b.next == nil {
			b.next = &page{done: make(chan struct{})}
			b.next.Open, b.next.Rest = map[string][]byte{}, map[string][]byte{}
		}
		b.next.Past = lastOf(append(p.Past, b.next.Past...), keptInMemory)
		b.next.Audit = lastOf(append(p.Audit, b.next.Audit...), keptInMemory)
	}
	close(p.done)
}

// mend opens the journal where it is not, and looks whether it is still there.
func (b *book) mend() {
	b.mu.Lock()
	j, bad := b.journal, b.trouble != ""
	b.mu.Unlock()
	switch {
	case j == nil && !bad:
		return
	case j == nil:
		b.open()
	case bad || !j.InPlace():
		err := j.Reopen()
		b.mu.Lock()
		b.settle(err)
		b.whole = true
		b.noteAside()
		b.mu.Unlock()
	default:
		return
	}
	b.write(&store.JournalChange{}, true)
	b.flush()
}

// troubles says what is wrong with the journal.
func (b *book) troubles() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trouble != "" {
		out = append(out, b.trouble)
	} else if b.busy != nil && time.Since(b.since) > slowAfter {
		out = append(out, fmt.Sprintf("the journal %s has been written to for %v: what is to be done is done all the same", b.path, time.Since(b.since).Round(time.Second)))
	}
	if b.aside != "" {
		out = append(out, fmt.Sprintf("the journal of mitigations was damaged: it is %s now, and what was in force before is not known", b.aside))
	}
	return out
}

// close writes what is left, within a bound.
func (b *book) close() {
	if b.path == "" {
		return
	}
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	b.nudge()
	select {
	case <-b.over:
	case <-time.After(closeTime):
		return
	}
	if b.journal != nil {
		_ = b.journal.Close() // everything in it is synced
	}
}

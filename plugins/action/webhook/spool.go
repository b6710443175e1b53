package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// letter is an event that is to be told, as it will be: a later template or
// configuration does not change it.
type letter struct {
	Key   string    `json:"key"` // for idempotency
	Event string    `json:"event"`
	Lane  uint32    `json:"lane"` // those of one attack are in one
	Time  time.Time `json:"time"` // when it was taken
	Body  []byte    `json:"body"`
}

// entry is a letter in the spool. Where there is a directory, the letter itself
// is on disk only.
type entry struct {
	seq    uint64
	key    string
	lane   int
	size   int64
	taken  time.Time
	busy   bool    // somebody is telling it
	letter *letter // nil: it is on disk
}

// block is what a file takes at least.
const block = 4096

// spool keeps letters in order until they are told, in a directory or, without
// one, in memory.
type spool struct {
	dir   string
	limit int64
	lanes []chan struct{} // each holds a token when its lane has something new

	mu      sync.Mutex
	entries []*entry // oldest first
	size    int64
	next    uint64
	keys    map[string]bool // of entries and of those that were told lately
	recent  []string        // the latter, as a ring
	at      int
	dropped uint64
	fault   error // why the newest letter is not on disk
}

// remembered is how many keys of letters that were told are kept, so that an
// event that the core tells twice is told once.
const remembered = 4096

func newSpool(dir string, limit int64, lanes int) *spool {
	s := &spool{dir: dir, limit: limit, keys: map[string]bool{}, recent: make([]string, remembered)}
	for range lanes {
		s.lanes = append(s.lanes, make(chan struct{}, 1))
	}
	return s
}

// open takes in what an earlier process has left. Files that cannot be
// understood are renamed to .damaged and reported.
func (s *spool) open() error {
	if s.dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(s.dir) // sorted by name, and so by seq
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		path := filepath.Join(s.dir, f.Name())
		if strings.HasSuffix(f.Name(), ".new") {
			_ = os.Remove(path) // half written
			continue
		}
		name, isLetter := strings.CutSuffix(f.Name(), ".json")
		seq, err := strconv.ParseUint(name, 10, 64)
		if !isLetter || err != nil {
			continue
		}
		l, err := load(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: it is %s.damaged now", err, f.Name()), os.Rename(path, path+".damaged"))
			continue
		}
		s.next = max(s.next, seq)
		s.insert(&entry{seq: seq, key: l.Key, lane: int(l.Lane % uint32(len(s.lanes))), size: sizeOf(l), taken: l.Time})
	}
	return errors.Join(errs...)
}

func load(path string) (*letter, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var l letter
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Base(path), err)
	}
	return &l, nil
}

// sizeOf is what a letter takes on disk, near enough: whole blocks.
func sizeOf(l *letter) int64 {
	n := int64(len(l.Body))*4/3 + int64(len(l.Key)) + 200
	return (n + block - 1) / block * block
}

func (s *spool) path(seq uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d.json", seq))
}

// insert is called with the lock held, or before anybody else knows the spool.
func (s *spool) insert(e *entry) {
	s.entries = append(s.entries, e)
	s.size += e.size
	s.keys[e.key] = true
	select {
	case s.lanes[e.lane] <- struct{}{}:
	default:
	}
}

// add takes a letter in, unless it has been there. It returns the letters that
// had to go for it. One that cannot be written to disk is kept in memory.
func (s *spool) add(l *letter) (gone []*letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[l.Key] {
		return nil
	}
	e := &entry{key: l.Key, lane: int(l.Lane % uint32(len(s.lanes))), size: sizeOf(l), taken: l.Time}
	for s.size+e.size > s.limit {
		i := slices.IndexFunc(s.entries, func(e *entry) bool { return !e.busy })
		if i < 0 {
			break
		}
		old := s.entries[i]
		if lost, err := s.read(old); err == nil {
			gone = append(gone, lost)
		}
		s.dropped++
		s.remove(i)
	}
	s.next++
	e.seq, e.letter = s.next, l
	if s.dir != "" {
		b, err := json.Marshal(l)
		if err == nil {
			err = hold.Replace(s.path(e.seq), b)
		}
		if s.fault = err; err == nil {
			e.letter = nil
		}
	}
	s.insert(e)
	return gone
}

// read fetches an entry's letter.
func (s *spool) read(e *entry) (*letter, error) {
	if e.letter != nil {
		return e.letter, nil
	}
	return load(s.path(e.seq))
}

// first gives the oldest letter of a lane; nil there is none. It is not dropped
// before done.
func (s *spool) first(lane int) (*entry, *letter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.lane == lane })
	if i < 0 {
		return nil, nil, nil
	}
	e := s.entries[i]
	e.busy = true
	l, err := s.read(e)
	return e, l, err
}

// done lets a letter go that has been told or given up.
func (s *spool) done(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.entries, e)
	if i < 0 {
		return
	}
	s.remove(i)
	s.keys[e.key] = true
	delete(s.keys, s.recent[s.at])
	s.recent[s.at] = e.key
	s.at = (s.at + 1) % len(s.recent)
}

// remove is called with the lock held.
func (s *spool) remove(i int) {
	e := s.entries[i]
	s.entries = slices.Delete(s.entries, i, i+1)
	s.size -= e.size
	delete(s.keys, e.key)
	if e.letter == nil {
		if err := os.Remove(s.path(e.seq)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.fault = err
		}
	}
}

// state is how much waits, since when, what was dropped, and what is wrong with
// the directory.
func (s *spool) state() (waiting int, since time.Time, dropped uint64, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) > 0 {
		since = s.entries[0].taken
	}
	return len(s.entries), since, s.dropped, s.fault
}

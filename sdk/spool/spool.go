// Package spool keeps records until they have been delivered, in order and each
// once, on disk where there is a directory: what is in it survives the death of
// the process, a kill -9 included, and of a power failure loses the last second
// at most.
//
// A spool is a directory of segments. A segment is named after the number of
// its first record and holds records one behind another, each with a checksum;
// a file beside them says up to which number all is delivered. It belongs to
// one process at a time.
package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// DefaultSize bounds a spool unless Options say otherwise, in bytes.
const DefaultSize = 64 << 20

// segmentSize is what a segment is at most, unless one record is larger. What is
// delivered leaves the disk a segment at a time.
const segmentSize = 1 << 20

// syncEvery is how much a power failure may lose.
const syncEvery = time.Second

// maxKeys bounds the keys that are remembered to tell records that come twice.
const maxKeys = 8192

// Options of a spool.
type Options struct {
	Dir  string // made if it is missing; "" keeps everything in memory
	Size int64  // bytes of records that wait at most, at least a segment's 1 MiB; 0 means DefaultSize
}

// Record is one record that waits.
type Record struct {
	Number uint64    // 1 for the first one of a directory, then one more for each
	Time   time.Time // when it was appended
	Data   []byte
	Again  bool // it may have been delivered already: the process has ended since it was appended
}

// Stats are figures of a spool.
type Stats struct {
	Waiting int           // records
	Bytes   int64         // of them
	Age     time.Duration // of the oldest, 0 without one
	Dropped uint64        // records that were pushed out by newer ones
	Damaged uint64        // pieces of files that could not be read
	Memory  int           // of the waiting records, those that the disk did not take
	Err     error         // why the disk did not take the newest one; nil if it did
}

// Spool is a queue of records. Its methods may be called from anywhere.
type Spool struct {
	mu       sync.Mutex
	dir      string
	size     int64
	segments []*segment // oldest first; the last one is written to
	waiting  []entry    // oldest first
	bytes    int64      // of what waits
	done     doneFile
	next     uint64 // number of the next record
	keys     map[uint64]uint64
	order    []uint64 // keys, oldest first
	stats    Stats
	dirty    bool
	closed   bool
	stop     chan struct{}
	synced   sync.WaitGroup
}

// entry is a record that waits.
type entry struct {
	number uint64
	key    uint64
	at     int64 // Unix nanoseconds
	seg    *segment
	offset int64
	length int
	data   []byte // of one that is in memory only
	again  bool
}

// Open opens a spool and finds what waits in it. What cannot be read is passed
// over and counted; an error means that the directory cannot be used at all.
func Open(o Options) (*Spool, error) {
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	s := &Spool{dir: o.Dir, size: max(o.Size, segmentSize), next: 1, keys: map[uint64]uint64{}, stop: make(chan struct{})}
	if s.dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("the spool's directory cannot be made: %w", err)
	}
	if err := s.done.open(filepath.Join(s.dir, "done")); err != nil {
		return nil, fmt.Errorf("the spool's record of what is delivered cannot be opened: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.done.close())
	}
	s.synced.Go(s.syncNow)
	return s, nil
}

// syncNow brings what was written to the disk, now and then.
func (s *Spool) syncNow() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		var f *os.File
		if s.dirty && len(s.segments) > 0 {
			f = s.segments[len(s.segments)-1].file
		}
		s.dirty = false
		s.mu.Unlock()
		if f != nil {
			_ = f.Sync() // it fails where the segment is gone meanwhile; else the next write tells
		}
	}
}

// Append adds a record. A key other than 0 tells records apart: one whose key
// was appended lately is not added again. A disk that takes nothing more makes
// the record wait in memory; Stats tells.
func (s *Spool) Append(key uint64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if _, had := s.keys[key]; had && key != 0 {
		return
	}
	e := entry{number: s.next, key: key, at: time.Now().UnixNano(), length: len(data)}
	s.next++
	s.remember(key, e.number)
	s.stats.Err = nil
	if s.dir != "" {
		s.stats.Err = s.write(&e, data)
	}
	if e.seg == nil {
		e.data = append([]byte(nil), data...)
	}
	s.waiting = append(s.waiting, e)
	s.bytes += int64(len(data))
	for s.bytes > s.size && len(s.waiting) > 1 {
		if err := s.forget(1); err != nil {
			s.stats.Err = err
		}
		s.stats.Dropped++
	}
}

// remember keeps a key.
func (s *Spool) remember(key, number uint64) {
	if key == 0 {
		return
	}
	if len(s.order) >= maxKeys {
		delete(s.keys, s.order[0])
		s.order = s.order[1:]
	}
	s.keys[key] = number
	s.order = append(s.order, key)
}

// Next returns up to n of the oldest records that wait, of no more than so many
// bytes together unless the first is larger. They stay until Done.
func (s *Spool) Next(n, bytes int) (out []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, sum := 0, 0; i < len(s.waiting) && len(out) < n; i++ {
		e := &s.waiting[i]
		if sum += e.length; sum > bytes && len(out) > 0 {
			break
		}
		data := e.data
		if e.seg != nil {
			var err error
			if data, err = e.seg.read(e); err != nil {
				s.stats.Damaged++
				if len(out) > 0 {
					break // it is the first one next time
				}
				if err := s.forget(1); err != nil {
					s.stats.Err = err
				}
				i, sum = -1, 0
				continue
			}
		}
		out = append(out, Record{Number: e.number, Time: time.Unix(0, e.at), Data: data, Again: e.again})
	}
	return out
}

// Done says that all records up to number are delivered.
func (s *Spool) Done(number uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.waiting) && s.waiting[n].number <= number {
		n++
	}
	return s.forget(n)
}

// forget takes the n oldest records away.
func (s *Spool) forget(n int) error {
	if n == 0 {
		return nil
	}
	last := s.waiting[n-1].number
	for i := range n {
		s.bytes -= int64(s.waiting[i].length)
	}
	clear(s.waiting[:n])
	s.waiting = s.waiting[n:]
	if s.dir == "" || s.closed {
		return nil
	}
	err := s.done.set(last)
	for len(s.segments) > 1 && s.segments[0].last <= last {
		err = errors.Join(err, s.segments[0].remove())
		s.segments = s.segments[1:]
	}
	return err
}

// Stats returns the spool's figures.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting, st.Bytes = len(s.waiting), s.bytes
	if len(s.waiting) > 0 {
		st.Age = max(0, time.Since(time.Unix(0, s.waiting[0].at)))
	}
	for i := range s.waiting {
		if s.waiting[i].seg == nil {
			st.Memory++
		}
	}
	return st
}

// Close closes the files. What waits stays for the next Open.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.synced.Wait()
	if s.dir == "" {
		return nil
	}
	var errs []error
	if n := len(s.segments); n > 0 && s.segments[n-1].file != nil {
		errs = append(errs, s.segments[n-1].file.Sync())
	}
	for _, seg := range s.segments {
		errs = append(errs, seg.close())
	}
	return errors.Join(append(errs, s.done.close())...)
}

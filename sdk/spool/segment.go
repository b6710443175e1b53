package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A record on disk, little endian:
//
//	0  uint32 length of the data
//	4  uint32 CRC-32C of what follows
//	8  uint64 number
//	16 int64  Unix nanoseconds
//	24 uint64 key
//	32 data
const headerSize = 32

// maxRecord bounds what is believed of a length on disk.
const maxRecord = 64 << 20

const suffix = ".spool"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is one file.
type segment struct {
	path  string
	file  *os.File
	size  int64  // up to the last good record
	last  uint64 // number of the last record
	spent bool   // nothing more is written to it
}

// write appends a record to the newest segment.
func (s *Spool) write(e *entry, data []byte) error {
	var seg *segment
	if n := len(s.segments); n > 0 {
		seg = s.segments[n-1]
	}
	if seg == nil || seg.spent || seg.size > 0 && seg.size+headerSize+int64(len(data)) > segmentSize {
		path := filepath.Join(s.dir, fmt.Sprintf("%020d%s", e.number, suffix))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		seg = &segment{path: path, file: f, last: e.number - 1}
		s.segments = append(s.segments, seg)
	}
	b := make([]byte, headerSize, headerSize+len(data))
	binary.LittleEndian.PutUint32(b, uint32(len(data)))
	binary.LittleEndian.PutUint64(b[8:], e.number)
	binary.LittleEndian.PutUint64(b[16:], uint64(e.at))
	binary.LittleEndian.PutUint64(b[24:], e.key)
	b = append(b, data...)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	if _, err := seg.file.WriteAt(b, seg.size); err != nil {
		seg.spent = seg.file.Truncate(seg.size) != nil // half a record would hide what came behind it
		return err
	}
	e.seg, e.offset = seg, seg.size
	seg.size += int64(len(b))
	seg.last = e.number
	s.dirty = true
	return nil
}

// read reads a record's data.
func (g *segment) read(e *entry) ([]byte, error) {
	b := make([]byte, headerSize+e.length)
	if _, err := g.file.ReadAt(b, e.offset); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli) || binary.LittleEndian.Uint64(b[8:]) != e.number {
		return nil, errors.New("the checksum is wrong")
	}
	return b[headerSize:], nil
}

func (g *segment) close() error { return g.file.Close() }

func (g *segment) remove() error { return errors.Join(g.file.Close(), os.Remove(g.path)) }

// load finds the records that a process before has left.
func (s *Spool) load() error {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("the spool's directory cannot be read: %w", err)
	}
	var paths []string
	for _, n := range names {
		first, ours := strings.CutSuffix(n.Name(), suffix)
		if _, err := strconv.ParseUint(first, 10, 64); err == nil && ours && n.Type().IsRegular() {
			paths = append(paths, filepath.Join(s.dir, n.Name()))
		}
	}
	slices.Sort(paths)
	s.next = s.done.number + 1
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("the spool cannot be read: %w", err)
		}
		seg := &segment{path: path, file: f}
		if err := s.scan(seg); err != nil {
			return errors.Join(fmt.Errorf("the spool cannot be read: %w", err), f.Close())
		}
		s.segments = append(s.segments, seg)
	}
	// Segments of which everything is delivered, but for the newest.
	for len(s.segments) > 1 && s.segments[0].last <= s.done.number {
		if err := s.segments[0].remove(); err != nil {
			return fmt.Errorf("the spool cannot be cleaned: %w", err)
		}
		s.segments = s.segments[1:]
	}
	return nil
}

// scan reads a segment up to its first damaged record and cuts off the rest:
// it was written when the process died, or the disk has lost it.
func (s *Spool) scan(seg *segment) error {
	info, err := seg.file.Stat()
	if err != nil {
		return err
	}
	header := make([]byte, headerSize)
	for {
		if _, err := seg.file.ReadAt(header, seg.size); err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		n := int64(binary.LittleEndian.Uint32(header))
		e := entry{
			number: binary.LittleEndian.Uint64(header[8:]), at: int64(binary.LittleEndian.Uint64(header[16:])),
			key: binary.LittleEndian.Uint64(header[24:]), seg: seg, offset: seg.size, length: int(n), again: true,
		}
		if n > maxRecord || seg.size+headerSize+n > info.Size() || e.number <= seg.last {
			break
		}
		if _, err := seg.read(&e); err != nil {
			break
		}
		s.remember(e.key, e.number)
		if e.number >= s.next {
			s.waiting = append(s.waiting, e)
			s.bytes += n
			s.next = e.number + 1
		}
		seg.last = e.number
		seg.size += headerSize + n
	}
	if seg.size < info.Size() {
		s.stats.Damaged++
		return seg.file.Truncate(seg.size)
	}
	return nil
}

// doneFile says up to which number all is delivered: two slots of number and
// checksum, written in turn, so that one of them is always whole.
type doneFile struct {
	file   *os.File
	number uint64
	slot   int64
}

const slotSize = 16

func (d *doneFile) open(path string) (err error) {
	if d.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	for slot := range int64(2) {
		b := make([]byte, slotSize)
		if _, err := d.file.ReadAt(b, slot*slotSize); err != nil {
			continue
		}
		n := binary.LittleEndian.Uint64(b)
		if uint64(crc32.Checksum(b[:8], castagnoli)) == binary.LittleEndian.Uint64(b[8:]) && n >= d.number {
			d.number, d.slot = n, 1-slot
		}
	}
	return nil
}

func (d *doneFile) set(number uint64) error {
	b := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(b, number)
	binary.LittleEndian.PutUint64(b[8:], uint64(crc32.Checksum(b[:8], castagnoli)))
	d.number = number
	_, err := d.file.WriteAt(b, d.slot*slotSize)
	d.slot = 1 - d.slot
	return err
}

func (d *doneFile) close() error { return d.file.Close() }

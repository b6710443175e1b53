package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// tail is how much of the file is looked through for events that may be there
// already: more than a batch of them.
const tail = 8 << 20

// stamp is what a file that is put aside is named after, in UTC.
const stamp = "20060102T150405.000000000"

// lines is a file of lines.
type lines struct {
	cfg   config
	file  *os.File
	size  int64
	since time.Time // of its first line
}

// Connect opens the file and cuts off a line that was not written to its end.
func (l *lines) Connect(context.Context) error {
	if err := l.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(l.cfg.Path, os.O_CREATE|os.O_RDWR, 0o640) //nolint:gosec // what ships the lines is of the group
	if err != nil {
		return err
	}
	size, err := whole(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size, l.since = f, size, time.Now()
	if size > 0 {
		l.since = info.ModTime() // its birth is not to be had everywhere
	}
	return nil
}

// whole cuts a file off behind its last line end and returns its size.
func whole(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end += int64(i) + 1 - n
			if end == size {
				return size, nil
			}
			return end, f.Truncate(end)
		}
		end -= n
	}
	return 0, f.Truncate(0)
}

// Close closes the file.
func (l *lines) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// snapshotLine is a line of rates.
type snapshotLine struct {
	Event string `json:"event"`
	sdk.Snapshot
}

// Snapshot appends a line.
func (l *lines) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if !l.cfg.Snapshots || l.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	line, err := json.Marshal(snapshotLine{"snapshot", *s})
	if err != nil {
		return delivery.Refused(err)
	}
	return l.append(ctx, append(line, '\n'), false)
}

// Events appends a line for each event.
func (l *lines) Events(ctx context.Context, b delivery.Batch) error {
	if !l.cfg.Events {
		return nil
	}
	var had map[uint64]bool
	if b.Again {
		var err error
		if had, err = l.written(); err != nil {
			return err
		}
	}
	var text []byte
	for i := range b.Events {
		line, err := l.eventLine(&b.Events[i])
		if err != nil {
			return delivery.Refused(err)
		}
		if len(line) > 0 && !had[maphash.Bytes(seed, line)] {
			text = append(append(text, line...), '\n')
		}
	}
	return l.append(ctx, text, true)
}

var seed = maphash.MakeSeed()

// eventLine is an event's line without its end, nothing where the layout has none.
func (l *lines) eventLine(e *sdk.Event) ([]byte, error) {
	if l.cfg.Layout != delivery.LayoutFastNetMon {
		return json.Marshal(e)
	}
	switch e.Type {
	case sdk.AttackStarted:
		return report.Document(e, "ban")
	case sdk.AttackEnded:
		return report.Document(e, "unban")
	}
	return nil, nil
}

// written are the lines at the end of the file.
func (l *lines) written() (map[uint64]bool, error) {
	from := max(0, l.size-tail)
	b := make([]byte, l.size-from)
	if _, err := l.file.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	out := map[uint64]bool{}
	for line := range bytes.Lines(b) {
		out[maphash.Bytes(seed, bytes.TrimSuffix(line, []byte{'\n'}))] = true
	}
	return out, nil
}

// append writes whole lines: if it fails, none of them is there.
func (l *lines) append(ctx context.Context, text []byte, sync bool) error {
	if len(text) == 0 {
		return nil
	}
	if err := l.place(ctx, int64(len(text))); err != nil {
		return err
	}
	if _, err := l.file.WriteAt(text, l.size); err != nil {
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(text))
	if sync {
		return l.file.Sync()
	}
	return nil
}

// place makes sure that the file is the one of that name, and puts it aside
// when it is time to.
func (l *lines) place(ctx context.Context, more int64) error {
	ours, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.cfg.Path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(ours, there) {
		return l.Connect(ctx) // somebody else has put it aside
	}
	if err != nil {
		return err
	}
	large := l.cfg.MaxSize > 0 && l.size+more > int64(l.cfg.MaxSize)
	old := l.cfg.MaxAge > 0 && time.Since(l.since) > l.cfg.MaxAge
	if l.size == 0 || !large && !old {
		return nil
	}
	if err := os.Rename(l.cfg.Path, l.cfg.Path+"."+time.Now().UTC().Format(stamp)); err != nil {
		return fmt.Errorf("the file cannot be put aside: %w", err)
	}
	return errors.Join(l.tidy(), l.Connect(ctx))
}

// tidy removes the oldest of the files that were put aside.
func (l *lines) tidy() error {
	dir, base := filepath.Split(l.cfg.Path)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return err
	}
	var aside []string
	for _, e := range entries {
		if when, ok := strings.CutPrefix(e.Name(), base+"."); ok {
			if _, err := time.Parse(stamp, when); err == nil {
				aside = append(aside, e.Name())
			}
		}
	}
	slices.Sort(aside)
	for len(aside) > l.cfg.Keep {
		if err := os.Remove(filepath.Join(dir, aside[0])); err != nil {
			return err
		}
		aside = aside[1:]
	}
	return nil
}

package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Files is the directory of capture files and reports.
type Files struct {
	Dir  string        // "": nothing is written
	Keep time.Duration // older ones are removed; 0: none for their age
	Max  uint64        // octets of all together, the oldest go first; 0: no limit

	mu    sync.Mutex
	total uint64 // octets, as last counted
}

// Name is what an attack's files are called, without extension: when it began,
// its target, direction and id, of letters, digits, dots, - and _ only.
func Name(e *sdk.Event) string {
	return strings.Join([]string{e.Started.UTC().Format("2006-01-02T150405Z"), safe(e.TargetName()), safe(e.Direction), safe(e.ID)}, "_")
}

// safe leaves of a text what is harmless in every file system and shell.
func safe(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '.':
			return r
		}
		return '-'
	}, s)
	return strings.TrimLeft(s[:min(len(s), 64)], ".")
}

// ours matches the names of files that we write, and nothing else is ever
// removed.
var ours = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d{6}Z_[0-9A-Za-z.-]+_(incoming|outgoing)_[0-9A-Za-z.-]+\.(pcap|pcapng|txt)$`)

// Write writes a file at once or not at all, and returns its path.
func (f *Files) Write(name string, content []byte) (path string, err error) {
	if f == nil || f.Dir == "" {
		return "", errNoDirectory
	}
	if err := os.MkdirAll(f.Dir, 0o750); err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(f.Dir, ".new-*")
	if err != nil {
		return "", err
	}
	_, err = temp.Write(content)
	if e := temp.Chmod(0o640); err == nil {
		err = e
	}
	if e := temp.Close(); err == nil { // a full disk may show itself only now
		err = e
	}
	path = filepath.Join(f.Dir, name)
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return "", fmt.Errorf("%s: %w", path, err)
	}
	f.mu.Lock()
	f.total += uint64(len(content))
	over := f.Max > 0 && f.total > f.Max
	f.mu.Unlock()
	if over {
		return path, f.Sweep(time.Now())
	}
	return path, nil
}

var errNoDirectory = errors.New("no directory for evidence")

// Sweep removes files that are too old, then the oldest as long as all
// together are too large. Files of other names stay.
func (f *Files) Sweep(now time.Time) error {
	if f == nil || f.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	type file struct {
		name string
		size uint64
		time time.Time
	}
	var all []file
	total := uint64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		// What a crash has left half written is nobody's any more.
		left := strings.HasPrefix(e.Name(), ".new-") && now.Sub(info.ModTime()) > time.Hour
		if ours.MatchString(e.Name()) || left {
			all = append(all, file{e.Name(), uint64(info.Size()), info.ModTime()})
			total += uint64(info.Size())
		}
	}
	slices.SortFunc(all, func(a, b file) int { return a.time.Compare(b.time) })
	var errs []error
	for _, x := range all {
		old := f.Keep > 0 && now.Sub(x.time) > f.Keep || strings.HasPrefix(x.name, ".")
		if !old && (f.Max == 0 || total <= f.Max) {
			continue
		}
		if err := os.Remove(filepath.Join(f.Dir, x.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		total -= x.size
	}
	f.mu.Lock()
	f.total = total
	f.mu.Unlock()
	return errors.Join(errs...)
}

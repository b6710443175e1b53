package prefix

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
)

// MaxListBytes is the size that a file of prefixes may have.
const MaxListBytes = 256 << 20

// File is a list of prefixes in a file, which may change while it is in
// force. One goroutine uses it at a time.
type File struct {
	Path string
	// Held says why the list is not what the file says now; "" where it is.
	Held string
	// Prefixes are the list in force. They are not to be changed.
	Prefixes []netip.Prefix

	seen, before stamp // of what was read last, and of the last look
}

// stamp tells one content of a file from another.
type stamp struct{ size, changed int64 }

// Load reads the file. Prefixes is the list then, also where it is empty.
func (f *File) Load() error {
	s, err := f.look()
	if err == nil {
		f.Prefixes, err = f.read()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	f.seen, f.before, f.Held = s, s, ""
	return nil
}

// Poll looks whether the file has changed, and reads it if so: it is to be
// called about once a second. A change is taken when the file was the same at
// two looks, so that it is whole, and is held back when the file is gone, cannot
// be read or has lost half of its prefixes or more: that is more often an accident
// than meant. It reports whether Prefixes or Held is another.
func (f *File) Poll() bool {
	was := f.Held
	s, err := f.look()
	switch {
	case err != nil:
		f.seen, f.before = stamp{}, stamp{} // whatever comes back is read
		return f.hold(was, fmt.Sprintf("it cannot be read: %v", cause(err)))
	case s != f.before:
		f.before = s
		return false // it may still be being written
	case s == f.seen:
		return false
	}
	f.seen = s
	list, err := f.read()
	switch {
	case err != nil:
		return f.hold(was, cause(err).Error())
	case len(f.Prefixes) > 0 && 2*len(list) <= len(f.Prefixes):
		return f.hold(was, fmt.Sprintf("it has %d prefixes and had %d", len(list), len(f.Prefixes)))
	}
	f.Prefixes, f.Held = list, ""
	return true
}

func (f *File) hold(was, why string) bool {
	f.Held = fmt.Sprintf("%s: %s; the %d prefixes in force are kept", f.Path, why, len(f.Prefixes))
	return f.Held != was
}

func (f *File) look() (stamp, error) {
	info, err := os.Stat(f.Path)
	switch {
	case err != nil:
		return stamp{}, cause(err)
	case !info.Mode().IsRegular():
		return stamp{}, errors.New("it is not a regular file")
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, nil
}

func (f *File) read() ([]netip.Prefix, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxListBytes+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(data) > MaxListBytes:
		return nil, fmt.Errorf("it has more than %d MiB", MaxListBytes>>20)
	}
	return ParseList(data)
}

// cause is an error without the path, which whoever shows it says.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

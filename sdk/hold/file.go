package hold

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a small file in JSON that is replaced as a whole: after a crash or a
// loss of power it is the old one or the new one.
type File struct {
	path string
}

// NewFile is the file of that name in dir, which is Env.StateDir. Where dir is
// empty nothing is kept.
func NewFile(dir, name string) *File {
	if dir == "" {
		return &File{}
	}
	return &File{filepath.Join(dir, name)}
}

// Load reads the file into v, which it leaves alone where there is none. A file
// that cannot be understood is moved aside, to its name with ".damaged", and the
// error says so.
func (f *File) Load(v any) error {
	if f.path == "" {
		return nil
	}
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		if aside := os.Rename(f.path, f.path+".damaged"); aside != nil {
			return fmt.Errorf("%s is damaged (%w) and cannot be moved aside: %w", f.path, err, aside)
		}
		return fmt.Errorf("%s is damaged (%w): it is %s.damaged now, and nothing of what was held is known", f.path, err, f.path)
	}
	return nil
}

// Save writes v. When it returns nil, v is on disk.
func (f *File) Save(v any) error {
	if f.path == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Replace(f.path, b)
}

// Replace writes a file as a whole and waits until it is on disk.
func Replace(path string, b []byte) (err error) {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next) // what is not whole is of no use; why it failed is told
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

package capfile

import (
	"errors"
	"io/fs"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// MaxFiles is how many files may be read together: all are open at once.
const MaxFiles = 256

// CheckFiles checks the capture files that a block names, the beginning of
// each too; for a plugin's Validate. at is the attribute's path.
func CheckFiles(files []string, at diag.Path) diag.Diagnostics {
	var ds diag.Diagnostics
	if n := len(files); n == 0 {
		ds = append(ds, diag.Errorf(at, "No files", `Name at least one capture file: files = ["attack.pcap"].`))
	} else if n > MaxFiles {
		ds = append(ds, diag.Errorf(at, "Too many files", "%d files are more than %d, which are all open at once. Join some with mergecap.", n, MaxFiles))
	}
	for i, name := range files[:min(len(files), MaxFiles)] {
		if summary, err := checkFile(name); err != nil {
			ds = append(ds, diag.Errorf(at.Index(i), summary, "%v.", err))
		}
	}
	return ds
}

// checkFile reads the beginning of a file.
func checkFile(name string) (summary string, err error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file", errors.New("there is no file " + name)
	case err != nil:
		return "File cannot be read", err
	case !info.Mode().IsRegular(): // opening a pipe would block, reading it would eat it
		return "Not a file", errors.New(name + " is a directory, a pipe or a device; only plain files are read")
	}
	r, err := Open(name)
	if errors.As(err, new(*fs.PathError)) {
		return "File cannot be read", err
	}
	if err != nil {
		return "Not a capture file that can be read", err
	}
	r.Close()
	return "", nil
}

// OpenAll opens files, all or none.
func OpenAll(files []string) ([]*Reader, error) {
	var out []*Reader
	for _, name := range files {
		r, err := Open(name)
		if err != nil {
			CloseAll(out)
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// CloseAll closes files.
func CloseAll(files []*Reader) {
	for _, r := range files {
		r.Close()
	}
}

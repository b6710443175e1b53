package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// A runtime directory that somebody removes is made and locked again; where
// that cannot be, it is told, once, until it can.
func TestRuntimeDirComesBack(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out})
	dir := filepath.Join(t.TempDir(), "run")
	r, err := openRuntimeDir(config.Daemon{RuntimeDir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.keep()
	if out.Len() > 0 || r.wrong() != "" {
		t.Errorf("all is well, and yet: %s%s", r.wrong(), &out)
	}
	locked := func() bool {
		other, err := lockDir(dir)
		if err == nil {
			other.Close()
		}
		return err != nil && strings.Contains(err.Error(), "in use by another daemon")
	}
	for _, removed := range []string{dir, lockPath(dir)} {
		if err := os.RemoveAll(removed); err != nil {
			t.Fatal(err)
		}
		if r.keep(); !locked() || r.wrong() != "" {
			t.Errorf("%s was removed: locked %t, %s", removed, locked(), r.wrong())
		}
	}
	if n := strings.Count(out.String(), "it is made again"); n != 2 {
		t.Errorf("made again %d times:\n%s", n, &out)
	}
	// Another daemon was quicker.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	other, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r.keep(); !strings.Contains(r.wrong(), dir+" is in use by another daemon") {
			t.Errorf("it says %q", r.wrong())
		}
	}
	if n := strings.Count(out.String(), "cannot be made again"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &out)
	}
	other.Close()
	if r.keep(); !locked() || r.wrong() != "" {
		t.Errorf("the other is gone: locked %t, %s", locked(), r.wrong())
	}
}

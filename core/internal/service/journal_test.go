//go:build linux

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	l := newLogger(t, Options{Level: hclog.Info, Stderr: f})
	l.Error("broken", "trace", "a\nb")
	l.Warn("odd")
	l.Info("fine")
	l.Flush()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := "<3>[ERROR] fastnetmon: broken:\n<3>  trace=\n<3>  | a\n<3>  | b\n<4>[WARN]  fastnetmon: odd\n<6>[INFO]  fastnetmon: fine\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}

	// The variable is inherited, the stream is not: standard error was redirected.
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1))
	if toJournal(f) {
		t.Error("a file is taken for the journal")
	}
}

package evidence

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func attackEvent() sdk.Event {
	return sdk.Event{
		ID: "00ff00ff00ff00ff", Target: netip.MustParsePrefix("203.0.113.7/32"), Direction: "incoming",
		Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Crossing: sdk.Crossing{Scope: "host"},
	}
}

// Names are harmless whatever is in them, and are recognised as ours.
func TestName(t *testing.T) {
	e := attackEvent()
	if got, want := Name(&e), "2026-03-04T050607Z_203.0.113.7_incoming_00ff00ff00ff00ff"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, target := range []string{"2001:db8::7/128", "2001:db8::/64", "203.0.113.0/24"} {
		e.Target = netip.MustParsePrefix(target)
		if name := Name(&e) + ".pcap"; !ours.MatchString(name) {
			t.Errorf("%s is not recognised", name)
		}
	}
	e.Target, e.HostGroup = netip.Prefix{}, "x"
	e.ID = "../../etc/passwd\n$(reboot)"
	if name := Name(&e); strings.ContainsAny(name, "/\n$() ") || !ours.MatchString(name+".txt") {
		t.Errorf("%q", name)
	}
}

// Old files go, then the oldest of too many; what is not ours stays.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	f := &Files{Dir: dir, Keep: 24 * time.Hour, Max: 2500}
	now := time.Now()
	e := attackEvent()
	var paths []string
	for i := range 4 {
		e.Started = e.Started.Add(time.Second)
		path, err := f.Write(Name(&e)+".txt", make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(i-4) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	strange := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(strange, make([]byte, 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Sweep(now); err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	if exists(paths[0]) || exists(paths[1]) || !exists(paths[2]) || !exists(paths[3]) || !exists(strange) {
		t.Errorf("left: %v %v %v %v, strange %v", exists(paths[0]), exists(paths[1]), exists(paths[2]), exists(paths[3]), exists(strange))
	}
	if err := f.Sweep(now.Add(25 * time.Hour)); err != nil || exists(paths[3]) || !exists(strange) {
		t.Errorf("after a day: %v, %v, strange %v", err, exists(paths[3]), exists(strange))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// A directory that cannot be written and a disk that is full give an error and
// leave nothing behind.
func TestFilesFail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Files{Dir: filepath.Join(file, "below")}).Write("a.txt", nil); err == nil {
		t.Error("a file is a directory")
	}
	var none *Files
	if _, err := none.Write("a.txt", nil); err == nil || none.Sweep(time.Now()) != nil {
		t.Error("no directory is one")
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// As a full disk: what is longer is cut off. Go ignores the signal.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := (&Files{Dir: dir}).Write("a.txt", make([]byte, 10000))
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	entries, _ := os.ReadDir(dir)
	if err == nil || len(entries) != 0 {
		t.Errorf("%v; left %v", err, entries)
	}
}

package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// fullDevice is a file that is always full, full(4).
func fullDevice(t *testing.T) string {
	t.Helper()
	if info, err := os.Stat("/dev/full"); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return "/dev/full"
	}
	path := filepath.Join(t.TempDir(), "full")
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 7))); err != nil {
		sdktest.Absent(t, "this system has no device that is always full, and this user may not make one: "+err.Error())
	}
	return path
}

// A full disk below the log file is told to syslog, once, and to whoever asks;
// with room again the log itself says what is missing.
func TestFullDisk(t *testing.T) {
	full, dir := fullDevice(t), shortDir(t)
	conn := listenSyslog(t, filepath.Join(dir, "log"))
	path := filepath.Join(dir, "file")
	if err := os.Symlink(full, path); err != nil {
		t.Fatal(err)
	}
	var stderr safeBuffer
	l := newLogger(t, Options{Level: hclog.Info, Output: "file:" + path, Syslog: filepath.Join(dir, "log"), Stderr: &stderr})
	if l.Trouble() != "" {
		t.Errorf("trouble before anything was written: %s", l.Trouble())
	}
	for range 3 {
		l.Info("lost")
		l.Flush()
	}
	if got := receive(t, conn); !strings.Contains(got, "<27>") || !strings.HasSuffix(got, ": the log cannot be written, lines are lost until it can: write "+path+": no space left on device") {
		t.Errorf("syslog has %q", got)
	}
	if got := l.Trouble(); !strings.Contains(got, "3 lines are lost so far: write "+path+": no space left on device") {
		t.Errorf("trouble %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Info("room again")
	l.Flush()
	if got := l.Trouble(); got != "" {
		t.Errorf("trouble though it works: %s", got)
	}
	l.Close()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "log lines were lost") || !strings.Contains(string(text), "lost=3") {
		t.Errorf("the log is %q, %v", text, err)
	}
	if got := stderr.lines(); len(got) > 0 {
		t.Errorf("standard error has %q too", got)
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1024)); err == nil {
		t.Errorf("syslog was told more than once: %d bytes", n)
	}
}

// Without a syslog daemon standard error is told.
func TestFullDiskNoSyslog(t *testing.T) {
	var stderr safeBuffer
	full := fullDevice(t)
	l := newLogger(t, Options{Level: hclog.Info, Output: "file:" + full, Syslog: filepath.Join(shortDir(t), "none"), Stderr: &stderr})
	l.Info("lost")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := stderr.lines(); len(got) > 0 {
			if len(got) != 1 || got[0] != "fastnetmon: the log cannot be written, lines are lost until it can: write "+full+": no space left on device" {
				t.Errorf("standard error has %q", got)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("standard error is not told")
		}
	}
}

// An output that is well again and fails again within a minute is not told of
// twice.
func TestFailureIsToldOnceAMinute(t *testing.T) {
	told := 0
	f := failure{elsewhere: func(string) { told++ }}
	now := time.Now()
	for i, c := range []struct {
		after time.Duration
		err   error
		told  int
	}{
		{0, os.ErrInvalid, 1},
		{time.Second, os.ErrInvalid, 1},
		{2 * time.Second, nil, 1},
		{3 * time.Second, os.ErrInvalid, 1},
		{61 * time.Second, os.ErrInvalid, 1}, // it has been told of, and goes on
		{62 * time.Second, nil, 1},
		{63 * time.Second, os.ErrInvalid, 2},
	} {
		if f.note(c.err, now.Add(c.after)); told != c.told {
			t.Errorf("%d: told %d times, want %d", i, told, c.told)
		}
	}
}

package api

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// abandon leaves a socket as a killed daemon does.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

// The mode is as asked for whatever the umask, and nothing else is left.
func TestSocketMode(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		for _, mode := range []os.FileMode{0o660, 0o600, 0o666} {
			path := socketPath(t)
			old := syscall.Umask(umask)
			l, err := listen(path, mode)
			syscall.Umask(old)
			if umask == 0o777 && os.Geteuid() != 0 {
				if err == nil {
					l.Close()
				}
				continue // one may not enter what one has made: an error, or nothing to see
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != os.ModeSocket|mode {
				t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
				t.Errorf("beside the socket there is %v", left)
			}
			l.Close()
			if _, err := os.Lstat(path); err == nil {
				t.Error("the socket stays when it is closed")
			}
		}
	}
}

func TestStaleSocket(t *testing.T) {
	path := socketPath(t)
	abandon(t, path)
	l, err := listen(path, SocketMode)
	if err != nil {
		t.Fatalf("the socket of a dead daemon is in the way: %v", err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestTwoServers(t *testing.T) {
	r := start(t, healthy())
	err := Serve(t.Context(), r.path, SocketMode, healthy(), hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), "another daemon answers at "+r.path) {
		t.Fatalf("got %v", err)
	}
	if _, err := client(t, r).Status(t.Context()); err != nil {
		t.Errorf("the first one was disturbed: %v", err)
	}
}

// A socket that another one has replaced is left to the other.
func TestReplacedSocket(t *testing.T) {
	path := socketPath(t)
	first, err := listen(path, SocketMode)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := listen(path, SocketMode)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first took the second's socket away: %v", err)
	}
}

func TestUnusablePlaces(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none", SocketName):       "its directory cannot be used",
		filepath.Join(file, SocketName):              "is no directory",
		filepath.Join(open, SocketName):              "every user may write",
		file:                                         "is no socket",
		filepath.Join(dir, strings.Repeat("x", 200)): "too long",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := Serve(ctx, path, SocketMode, healthy(), hclog.NewNullLogger())
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Error("a file was overwritten")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

package service

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is the service manager's end.
func manager(t *testing.T, address string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	return conn
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fnm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestNotify(t *testing.T) {
	addresses := []string{filepath.Join(shortDir(t), "notify")}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, "@fastnetmon-test-"+strconv.Itoa(os.Getpid()))
	}
	for _, address := range addresses {
		t.Run(address[:1], func(t *testing.T) {
			conn := manager(t, address)
			n := NewNotifier()
			for _, step := range []struct {
				send func() error
				want string
			}{
				{func() error { return n.Status("starting\nWATCHDOG=1") }, `^STATUS=starting WATCHDOG=1$`},
				{func() error { return n.Ready("3 captures") }, `^READY=1\nSTATUS=3 captures$`},
				{n.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+$`},
				{n.Stopping, `^STOPPING=1$`},
			} {
				if err := step.send(); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, conn); !regexp.MustCompile(step.want).MatchString(got) {
					t.Errorf("sent %q, want %s", got, step.want)
				}
			}
			if _, set := os.LookupEnv("NOTIFY_SOCKET"); set {
				t.Error("NOTIFY_SOCKET is still there for programs that are started")
			}
		})
	}
}

func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := NewNotifier()
	if err := n.Ready("x"); err != nil {
		t.Error(err)
	}
	n.Watchdog(t.Context(), func() bool { t.Error("asked for no one"); return true })

	t.Setenv("NOTIFY_SOCKET", "vsock:2:1234")
	if err := NewNotifier().Ready("x"); err == nil || !strings.Contains(err.Error(), "vsock:2:1234") {
		t.Errorf("an address that is not supported: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(shortDir(t), "none"))
	if err := NewNotifier().Stopping(); err == nil {
		t.Error("nobody listens, and no error")
	}
}

// A service manager that does not read is waited for no longer than a second.
func TestNotifyDeafManager(t *testing.T) {
	manager(t, filepath.Join(shortDir(t), "notify"))
	n := NewNotifier()
	start := time.Now()
	for range 10_000 {
		if err := n.Status("again"); err != nil {
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v to give up", took)
			}
			return
		}
	}
	t.Error("10,000 messages fit into a socket that nobody reads")
}

func TestWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	conn := manager(t, filepath.Join(shortDir(t), "notify"))
	n := NewNotifier()
	if n.watchdog != 20*time.Millisecond {
		t.Fatalf("watchdog %v", n.watchdog)
	}
	ctx, cancel := context.WithCancel(t.Context())
	healthy := make(chan bool)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Watchdog(ctx, func() bool {
			select {
			case h := <-healthy:
				return h
			case <-ctx.Done():
				return false
			}
		})
	}()
	start := time.Now()
	for range 5 {
		healthy <- true
		if got := receive(t, conn); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	if took := time.Since(start); took < 4*8*time.Millisecond {
		t.Errorf("five signs of life in %v: more often than twice in the watchdog's time", took)
	}
	healthy <- false
	healthy <- false // the first has been dealt with
	cancel()
	<-done
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("a sign of life (%d bytes) though not healthy", n)
	}
}

func TestWatchdogUnwanted(t *testing.T) {
	for usec, pid := range map[string]string{"": "", "0": "", "-5": "", "x": "", "99999999999999999": "", "1000": "1"} {
		t.Setenv("NOTIFY_SOCKET", "/none")
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		if n := NewNotifier(); n.watchdog != 0 {
			t.Errorf("WATCHDOG_USEC=%q WATCHDOG_PID=%q: a watchdog of %v", usec, pid, n.watchdog)
		}
	}
}

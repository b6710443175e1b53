package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a service manager hears on an abstract socket: the watchdog is fed from
// the first moment, a reload that is asked for while the daemon starts waits
// until it has, and a stop is announced.
func TestServiceManager(t *testing.T) {
	name := fmt.Sprintf("@fastnetmon-test-%d", os.Getpid())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "100000")
	dir := t.TempDir()
	config := write(t, "manager.hcl", fmt.Sprintf(killConfig, dir))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "configuration loaded")
	for range 20 {
		if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	var heard []string
	// hear reads messages until one begins with what is wanted.
	hear := func(want string) {
		t.Helper()
		message := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := conn.Read(message)
			if err != nil {
				t.Fatalf("no %s: %v; heard %q\n%s", want, err, heard, l.stderr)
			}
			heard = append(heard, string(message[:n]))
			if strings.HasPrefix(heard[len(heard)-1], want) {
				return
			}
		}
	}
	hear("READY=1")
	if !slices.Contains(heard, "WATCHDOG=1") {
		t.Errorf("the watchdog was not fed while the daemon started: %q", heard)
	}
	if slices.ContainsFunc(heard, func(s string) bool { return strings.HasPrefix(s, "RELOADING=1") }) {
		t.Errorf("it reloads before it is ready: %q", heard)
	}
	hear("RELOADING=1\nMONOTONIC_USEC=")
	hear("READY=1\nSTATUS=1 capture, ")
	hear("WATCHDOG=1")
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	err = <-l.done
	if l.done <- err; err != nil {
		t.Errorf("run ended with %v\n%s", err, l.stderr)
	}
	if strings.Contains(l.stderr.String(), "reload failed") {
		t.Errorf("log:\n%s", l.stderr)
	}
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

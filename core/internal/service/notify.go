package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells the service manager of the service's state, sd_notify(3). One
// without a service manager does nothing.
type Notifier struct {
	socket   string
	watchdog time.Duration // 0: none is wanted
}

// notifyTime bounds a message to a service manager that does not read.
const notifyTime = time.Second

// NewNotifier reads NOTIFY_SOCKET and WATCHDOG_USEC, and removes them from the
// environment: no program that is started may speak for this one.
func NewNotifier() *Notifier {
	n := &Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	pid := os.Getenv("WATCHDOG_PID")
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err == nil && usec > 0 && usec <= int64(24*time.Hour/time.Microsecond) && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
	return n
}

// Ready says that the service is up, or that reloading has ended.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS=" + statusLine(status))
}

// Status is the one line that "systemctl status" shows.
func (n *Notifier) Status(status string) error { return n.send("STATUS=" + statusLine(status)) }

// Reloading says that a new configuration is being applied; Ready must follow,
// whether it was or not.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("the monotonic clock cannot be read: %w", err)
	}
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the service is on its way down.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Watchdog tells the service manager, twice in the time it allows, that the
// service is alive, as long as healthy says so; it returns when ctx is done,
// or at once when no watchdog is wanted. A service manager that hears nothing
// kills and restarts the service: healthy must be about what a restart mends.
func (n *Notifier) Watchdog(ctx context.Context, healthy func() bool) {
	if n.socket == "" || n.watchdog == 0 {
		return
	}
	ticker := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer ticker.Stop()
	for {
		if healthy() {
			// A message that did not get through is followed by the next.
			_ = n.send("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// send makes a connection for each message: the service manager may be started
// anew at any time.
func (n *Notifier) send(message string) error {
	if n.socket == "" {
		return nil
	}
	if n.socket[0] != '/' && n.socket[0] != '@' {
		return fmt.Errorf("NOTIFY_SOCKET is %q: only paths and abstract sockets (@name) are supported", n.socket)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("the service manager cannot be told: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTime)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(message)); err != nil {
		return fmt.Errorf("the service manager cannot be told: %w", err)
	}
	return nil
}

// statusLine keeps a status from being read as further assignments.
func statusLine(text string) string {
	return strings.ToValidUTF8(strings.NewReplacer("\n", " ", "\r", " ", "\x00", " ").Replace(text), "?")
}

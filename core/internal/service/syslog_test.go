package service

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func listenSyslog(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(shortDir(t), "log")
	conn := listenSyslog(t, path)
	l := newLogger(t, Options{Level: hclog.Debug, Detached: true, Syslog: path})
	l.Error("broken", "why", "none")
	l.Warn("odd")
	l.Named("engine").Info("running")
	l.Debug("detail", "trace", "a\nb")
	stamp := `[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d fastnetmon\[` + strconv.Itoa(os.Getpid()) + `\]: `
	for _, want := range []string{
		`<27>` + stamp + `\[ERROR\] fastnetmon: broken: why=none`,
		`<28>` + stamp + `\[WARN\]  fastnetmon: odd`,
		`<30>` + stamp + `\[INFO\]  fastnetmon\.engine: running`,
		`<31>` + stamp + `\[DEBUG\] fastnetmon: detail:`,
		`<31>` + stamp + `  trace=`,
		`<31>` + stamp + `  \| a`,
		`<31>` + stamp + `  \| b`,
	} {
		if got := receive(t, conn); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	// The syslog daemon is started anew.
	conn.Close()
	os.Remove(path)
	l.Info("nobody hears this")
	l.Flush()
	if l.Lost() != 1 {
		t.Errorf("%d lines lost", l.Lost())
	}
	conn = listenSyslog(t, path)
	l.Info("back again")
	for _, want := range []string{"back again", "log lines were lost: the output was too slow, or failed: lost=1 lost_since_start=1"} {
		if got := receive(t, conn); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSyslogStream(t *testing.T) {
	path := filepath.Join(shortDir(t), "log")
	server, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := newLogger(t, Options{Level: hclog.Info, Output: OutputSyslog, Syslog: path})
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l.Info("hello")
	if got := receive(t, conn.(*net.UnixConn)); !strings.HasSuffix(got, "fastnetmon: hello\n") {
		t.Errorf("got %q", got)
	}
}

// A syslog daemon that does not read holds nobody up.
func TestSyslogStuck(t *testing.T) {
	path := filepath.Join(shortDir(t), "log")
	listenSyslog(t, path)
	l := newLogger(t, Options{Level: hclog.Info, Output: OutputSyslog, Syslog: path, Unlimited: []string{"line"}})
	start := time.Now()
	for range 2 * maxQueuedLines {
		l.Info("line")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("logging took %v", took)
	}
	if l.Lost() == 0 {
		t.Error("no line is lost, though nobody reads")
	}
	l.Close()
	select {
	case <-l.done:
	default:
		t.Error("Close left the writer behind: it offers a stuck output every line that is left")
	}
}

func TestSyslogAbsent(t *testing.T) {
	path := filepath.Join(shortDir(t), "log")
	if l, err := NewLogger(Options{Level: hclog.Info, Output: OutputSyslog, Syslog: path}); err == nil {
		l.Close()
		t.Error("no syslog daemon, and no error")
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not say where it was looked for: %v", err)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const reloadConfig = `
daemon {
  runtime_dir = "@DIR@/run"
  state_dir   = "@DIR@/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "1s"
  quiet    = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = @PPS@
  }
}

capture "hello" "seen" {
  target = "203.0.113.7"
  pps    = 5000
}

action "hello" "greet" {
  greeting = "@GREETING@"
}

pipeline "main" {
  captures = [capture.hello.seen]
  actions  = [action.hello.greet]
}
`

// A limit is lowered while traffic runs: the attack is found, the capture goes
// on as the process it was, only the changed block starts again, and a bad file
// changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "reload.hcl")
	put := func(pps, greeting string) {
		t.Helper()
		text := strings.NewReplacer("@DIR@", dir, "@PPS@", pps, "@GREETING@", greeting).Replace(reloadConfig)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("100000", "ahoy")
	l := start(t, "run", "--config", path, "--log-level", "debug")
	hangup := func(want string) {
		t.Helper()
		if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		l.waitLog(t, want)
	}
	l.waitLog(t, "not_running=0")
	capture := l.pid(t, "seen")
	if strings.Contains(l.stderr.String(), "attack started") {
		t.Fatal("an attack before the limit was lowered")
	}
	put("1000", "ahoy")
	hangup("threshold flood: pps 100000 becomes 1000")
	l.waitLog(t, "attack started")
	put("not a number", "ahoy")
	hangup("the old configuration stays in force")
	put("1000", "good day")
	hangup("action.hello.greet changes and starts again")
	if now := l.pid(t, "seen"); now != capture {
		t.Errorf("the capture was process %s and is %s", capture, now)
	}
	put("200000", "good day")
	hangup("pps 1000 becomes 200000")
	l.waitLog(t, "good day") // the attack ends, and the new action is told
	l.stop(t)
	log := l.stderr.String()
	if n := strings.Count(log, "attack started"); n != 1 {
		t.Errorf("%d attacks started, want 1:\n%s", n, log)
	}
	if n := strings.Count(log, "plugin launched"); n != 4 {
		t.Errorf("%d launches; want capture, action, and the changed action twice, first to be asked:\n%s", n, log)
	}
}

// waitLog waits for a text in the daemon's log.
func (l *live) waitLog(t testing.TB, want string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(l.stderr.String(), want) {
			return
		}
	}
	t.Fatalf("no %q in the log:\n%s", want, l.stderr)
}

// pid is the process id that the log gave last for an instance.
func (l *live) pid(t *testing.T, instance string) string {
	t.Helper()
	pid := ""
	for line := range strings.Lines(l.stderr.String()) {
		if strings.Contains(line, "plugin launched") && strings.Contains(line, "instance="+instance) {
			for field := range strings.FieldsSeq(line) {
				if v, ok := strings.CutPrefix(field, "pid="); ok {
					pid = v
				}
			}
		}
	}
	if pid == "" {
		t.Fatalf("no launch of %s in the log:\n%s", instance, l.stderr)
	}
	return pid
}

// manyPrefixes is a configuration of n networks' prefixes, each with traffic to
// one of them.
func manyPrefixes(dir string, n, pps int) string {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "    \"10.%d.%d.0/24\",\n", i>>8, i&0xff)
	}
	text := strings.NewReplacer("@DIR@", dir, "@PPS@", strconv.Itoa(pps), "@GREETING@", "ahoy", "203.0.113.7", "10.0.7.7").Replace(reloadConfig)
	return strings.Replace(text, `"203.0.113.0/24"`, "\n"+list.String(), 1)
}

// BenchmarkReload changes a configuration of 10,000 prefixes while it runs: the
// time from the command to the daemon's word that the new one is in force.
func BenchmarkReload(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "reload.hcl")
	put := func(n, pps int) {
		if err := os.WriteFile(path, []byte(manyPrefixes(dir, n, pps)), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	put(10_000, 100_000)
	l := start(b, "run", "--config", path)
	l.waitLog(b, "running: captures")
	pid := capturePID(b, path, 0)
	for i := 0; b.Loop(); i++ {
		put(10_000-i%2*100, 100_000+i)
		mustRun(b, "reload", "--config", path)
	}
	if now := capturePID(b, path, 0); now != pid {
		b.Errorf("the capture was process %d and is %d", pid, now)
	}
	if row := balanced(b, path); len(row.Dropped) > 0 {
		b.Errorf("dropped %v", row.Dropped)
	}
	l.stop(b)
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A list of prefixes is followed while the daemon runs: what comes is in force
// within seconds, what is lost is held until a person accepts it, and no plugin
// is started again.
func TestListsAreWatched(t *testing.T) {
	dir := t.TempDir()
	path, list := filepath.Join(dir, "lists.hcl"), filepath.Join(dir, "networks_list")
	put := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("@DIR@", dir, "@PPS@", "1000", "@GREETING@", "ahoy", `prefixes = ["203.0.113.0/24"]`, `files = ["networks_list"]`).Replace(reloadConfig)
	put(path, text)
	put(list, "# ours\n10.0.1.0/24\n10.0.2.0/24\n")
	l := start(t, "run", "--config", path, "--log-level", "debug")
	l.waitLog(t, "not_running=0")
	capture := l.pid(t, "seen")
	put(list, "10.0.1.0/24\n10.0.2.0/24\n203.0.113.0/24\n")
	began := time.Now()
	l.waitLog(t, "network home: 1 prefixes added, 0 removed")
	t.Logf("in force after %v", time.Since(began).Round(100*time.Millisecond))
	l.waitLog(t, "attack started")
	put(list, "10.0.1.0/24\n")
	l.waitLog(t, "a list of prefixes is held, not applied")
	status := mustRun(t, "status", "--config", path).stdout
	if !strings.Contains(status, "held") || !strings.Contains(status, "it has 1 prefixes and had 3") {
		t.Errorf("status:\n%s", status)
	}
	if out := mustRun(t, "reload", "--config", path).stdout; !strings.Contains(out, "nothing is different") {
		t.Errorf("a reload lets go of what is held:\n%s", out)
	}
	put(list, "nonsense\n")
	l.waitLog(t, "reload of the lists of prefixes refused")
	if status := mustRun(t, "status", "--config", path).stdout; !strings.Contains(status, "not in force") {
		t.Errorf("status:\n%s", status)
	}
	put(list, "10.0.1.0/24\n")
	if out := mustRun(t, "reload", "--accept-lists", "--config", path).stdout; !strings.Contains(out, "0 prefixes added, 2 removed") {
		t.Errorf("accepted:\n%s", out)
	}
	if status := mustRun(t, "status", "--config", path).stdout; strings.Contains(status, "held") {
		t.Errorf("status:\n%s", status)
	}
	if now := l.pid(t, "seen"); now != capture {
		t.Errorf("the capture was process %s and is %s", capture, now)
	}
	l.stop(t)
}

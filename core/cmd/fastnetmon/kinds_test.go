package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// All four kinds of plugin in one pipeline: the filter takes away what would
// be an attack on one target and leaves that on the other.
const kindsConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 1000
  }
}

capture "hello" "seen" {
  target = "203.0.113.7"
  pps    = 20000
}

filter "hello" "first" {
  port = %[2]d
}

filter "hello" "second" {
  port = 7
}

action "hello" "greet" {
  greeting = "ahoy"
}

export "hello" "lines" {
  file = "%[1]s/lines"

  process {
    period = "200ms"
  }
}

pipeline "main" {
  captures = [capture.hello.seen]
  filters  = [filter.hello.first, filter.hello.second]
  actions  = [action.hello.greet]
  exports  = [export.hello.lines]
}
`

func TestRunAllKinds(t *testing.T) {
	dir := t.TempDir()
	l := start(t, "run", "--config", write(t, "kinds.hcl", fmt.Sprintf(kindsConfig, dir, 53)))
	lines := waitFor(t, filepath.Join(dir, "lines"), `"event":"attack.started"`, l)
	waitFor(t, filepath.Join(dir, "lines"), `"host":"203.0.113.7/32"`, l)
	l.stop(t)
	if !strings.Contains(l.stderr.String(), "ahoy") {
		t.Errorf("no greeting in the log:\n%s", l.stderr)
	}
	var event struct{ Target, Threshold string }
	for line := range strings.Lines(lines) {
		if strings.Contains(line, "attack.started") {
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
		}
	}
	if event.Target != "203.0.113.7" || event.Threshold != "flood" {
		t.Errorf("the exported event: %+v", event)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "run")); err != nil || len(left) != 1 || left[0].Name() != "lock" {
		t.Errorf("left in the runtime directory: %v, %v", left, err)
	}
}

// What a filter drops is counted nowhere but in the ledger.
func TestFilterDropsBeforeCounting(t *testing.T) {
	dir := t.TempDir()
	l := start(t, "run", "--config", write(t, "kinds.hcl", fmt.Sprintf(kindsConfig, dir, 123)))
	waitFor(t, filepath.Join(dir, "lines"), `"totals"`, l)
	time.Sleep(2 * time.Second) // twice what the attack would need
	l.stop(t)
	lines, err := os.ReadFile(filepath.Join(dir, "lines"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(lines, []byte("attack.started")) || bytes.Contains(lines, []byte("203.0.113.7")) {
		t.Errorf("dropped records were counted:\n%.2000s", lines)
	}
}

// waitFor returns a file's content once it holds a text.
func waitFor(t *testing.T, path, text string, l *live) string {
	t.Helper()
	var content []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		content, _ = os.ReadFile(path) // it may not exist yet
		if bytes.Contains(content, []byte(text)) {
			return string(content)
		}
	}
	t.Fatalf("no %s in %s (%d bytes):\n%s", text, path, len(content), l.stderr)
	return ""
}

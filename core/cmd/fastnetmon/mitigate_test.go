package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bed is a daemon whose floods are files that come and go, and whose peer is a
// file.
type bed struct {
	t                   *testing.T
	dir, config, peer   string
	trigger, text, hold string
	daemon              *live
}

const bedConfig = `
daemon {
  mode        = "enforce"
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "500ms"
  quiet    = "500ms"

  threshold "flood" {
    direction = "incoming"
    pps       = 2000
  }
  mitigation {
    hold = "%[2]s"
    max  = "1h"
  }
}

capture "flood" "file" {
  network    = "198.18.0.0/16"
  pps        = 100
  hidden     = "203.0.113.7"
  hidden_pps = 50000
  trigger    = "%[1]s/flood"
  process {
    path = "%[1]s/capture-flood"
  }
}

action "rib" "edge" {
  file = "%[1]s/peer"
  announce "blackhole" {
    text = "discard"
  }
  announce "rule" {
    flow = true
  }
  process {
    path        = "%[1]s/action-rib"
    backoff     = "10ms"
    max_backoff = "50ms"
  }
}

pipeline "main" {
  captures = [capture.flood.file]
  actions  = [action.rib.edge.blackhole]
}
`

func newBed(t *testing.T, hold, more string) *bed {
	t.Helper()
	dir := t.TempDir()
	b := &bed{t: t, dir: dir, peer: filepath.Join(dir, "peer"), trigger: filepath.Join(dir, "flood"), hold: hold}
	for name, source := range map[string]string{"capture-flood": "flood-capture", "action-rib": "rib-action"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./core/cmd/fastnetmon/testdata/"+source)
		build.Dir = repository
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b.text = fmt.Sprintf(bedConfig, dir, hold) + more
	b.config = filepath.Join(dir, "bed.hcl")
	b.configure(b.text)
	return b
}

func (b *bed) configure(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) run() {
	b.t.Helper()
	b.daemon = start(b.t, "run", "--config", b.config)
	for deadline := time.Now().Add(20 * time.Second); run(b.t, "status", "--config", b.config).code != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the daemon does not answer\n%s", b.daemon.stderr)
		}
	}
}

func (b *bed) flood(on bool) {
	b.t.Helper()
	if on {
		if err := os.WriteFile(b.trigger, nil, 0o600); err != nil {
			b.t.Fatal(err)
		}
		return
	}
	if err := os.Remove(b.trigger); err != nil {
		b.t.Fatal(err)
	}
}

// mitigation is what "mitigations --json" prints of one.
type mitigation struct {
	ID, Target, Action, State, Cause, By, Reason string

	Announcements []string
	Peers         []struct{ Peer, State string }
}

func (b *bed) list(args ...string) (out []mitigation) {
	b.t.Helper()
	text := mustRun(b.t, append([]string{"mitigations", "--config", b.config, "--json"}, args...)...).stdout
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.t.Fatalf("%v in %s", err, text)
	}
	return out
}

// await waits until there is a mitigation of a target in a state.
func (b *bed) await(target, state string) mitigation {
	b.t.Helper()
	var last []mitigation
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		last = b.list()
		for _, m := range last {
			if m.Target == target && m.State == state {
				return m
			}
		}
	}
	b.t.Fatalf("no mitigation of %s came to be %s: %+v\n%s", target, state, last, b.daemon.stderr)
	return mitigation{}
}

// routes are what the peer has.
func (b *bed) routes() (out []string) {
	b.t.Helper()
	text, err := os.ReadFile(b.peer)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, route, _ := strings.Cut(strings.TrimSpace(line), " ")
		out = append(out, route)
	}
	return out
}

// awaitRoutes waits until the peer has so many.
func (b *bed) awaitRoutes(n int) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if len(b.routes()) == n {
			return
		}
	}
	b.t.Fatalf("the peer has %d routes, not %d: %v\n%s", len(b.routes()), n, b.routes(), b.daemon.stderr)
}

// An attack is announced, seen to be active, and taken back when its hold time is
// over.
func TestAnAttackIsMitigated(t *testing.T) {
	b := newBed(t, "2s", "")
	b.run()
	b.flood(true)
	m := b.await("203.0.113.7", "active")
	if m.Action != "action.rib.edge.blackhole" || len(m.Peers) != 1 || m.Peers[0].State != "active" || strings.Join(m.Announcements, "") != "203.0.113.7/32 discard" {
		t.Errorf("%+v", m)
	}
	if got := b.routes(); len(got) != 1 || got[0] != "203.0.113.7/32 discard" {
		t.Errorf("the peer has %q", got)
	}
	b.flood(false)
	b.awaitRoutes(0)
	if past := b.list("--history"); len(past) == 0 || past[0].State != "released" {
		t.Errorf("history: %+v", past)
	}
	b.daemon.stop(t)
}

package main

import (
	"strings"
	"testing"
	"time"
)

// A reload that protects a target takes its route back for good, though its
// attack goes on.
func TestAReloadProtects(t *testing.T) {
	b := newBed(t, "10m", "")
	b.run()
	b.flood(true)
	b.await(attackTarget, "active")
	b.configure(b.text + "\nguard {\n  protected = [\"" + attackTarget + "/32\"]\n}\n")
	mustRun(t, "reload", "--config", b.config)
	b.awaitRoutes(0)
	if m := b.ban(attackTarget, "--for", "1h"); m.State != "held" || !strings.Contains(m.Cause, "protected") {
		t.Errorf("%+v", m)
	}
	if got := b.routes(); len(got) != 0 {
		t.Errorf("the peer has %q", got)
	}
	b.daemon.stop(t)
}

// What an action held that is no longer configured when the daemon starts again
// is over, and history says that nothing took it back.
func TestAnActionThatIsGoneAtTheStart(t *testing.T) {
	b := newBed(t, "10m", "")
	b.run()
	m := b.ban("203.0.113.50", "--for", "1h")
	if err := b.daemon.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-b.daemon.done; err == nil {
		t.Error("the daemon was not killed")
	}
	close(b.daemon.done)
	b.configure(strings.NewReplacer(`"rib" "edge"`, `"rib" "other"`, "rib.edge", "rib.other").Replace(b.text))
	b.run()
	for deadline := time.Now().Add(20 * time.Second); len(b.list()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %+v", b.list())
		}
	}
	if past := b.list("--history"); len(past) != 1 || past[0].ID != m.ID || !strings.Contains(past[0].Cause, "no longer configured") {
		t.Errorf("history: %+v", past)
	}
	b.daemon.stop(t)
}

// A reload that has a threshold only monitor takes back what was done about its
// attacks, also where they are over and only their hold time is not.
func TestAReloadOfAThresholdsMode(t *testing.T) {
	b := newBed(t, "10m", "")
	b.run()
	b.flood(true)
	b.await(attackTarget, "active")
	b.flood(false)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(mustRun(t, "status", "--config", b.config).stdout, "attacks    0 in progress"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the attack does not end\n%s", b.daemon.stderr)
		}
	}
	b.await(attackTarget, "active")
	b.configure(strings.Replace(b.text, "pps       = 2000", "pps       = 2000\n    mode      = \"monitor\"", 1))
	mustRun(t, "reload", "--config", b.config)
	b.awaitRoutes(0)
	b.daemon.stop(t)
}

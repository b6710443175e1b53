package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// trialText is a bed's configuration with two scripts that note what they are
// called for, one for each role.
func trialText(t *testing.T, b *bed) (told, banned string) {
	t.Helper()
	told, banned = filepath.Join(b.dir, "told"), filepath.Join(b.dir, "banned")
	var text strings.Builder
	for name, file := range map[string]string{"notify": told, "mitigate": banned} {
		script := filepath.Join(b.dir, name+".sh")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$4 $1\" >> "+file+"\ncat > /dev/null\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		text.WriteString("\naction \"script\" \"" + name + "\" {\n  role    = \"" + name + "\"\n  command = [\"" + script + "\"]\n}\n")
	}
	b.configure(b.text + text.String())
	return told, banned
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// Where no daemon runs an action is tried alone: one that notifies is told, one
// that acts on the network says what it would do, and does it only if it is told
// to, after the same guards.
func TestAnActionIsTriedAlone(t *testing.T) {
	b := newBed(t, "10m", "")
	told, banned := trialText(t, b)
	try := func(code int, args ...string) string {
		t.Helper()
		got := run(t, append([]string{"action", "test", "--config", b.config}, args...)...)
		if got.code != code {
			t.Errorf("%v: status %d, not %d\n%s%s", args, got.code, code, got.stdout, got.stderr)
		}
		return got.stdout + got.stderr
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("it says nothing of %q:\n%s", w, text)
			}
		}
	}
	has(try(0, "script.notify", "--target", "203.0.113.9"), "no daemon runs", "it took the event")
	if got := contents(t, told); got != "ban 203.0.113.9\n" {
		t.Errorf("the script was called for %q", got)
	}
	has(try(0, "rib.edge", "--target", "203.0.113.9"), "action.rib.edge.blackhole for 203.0.113.9: 203.0.113.9/32 discard", "action.rib.edge.rule")
	has(try(0, "script.mitigate"), "all traffic to 203.0.113.1")
	has(try(0, "rib.edge.blackhole", "--target", "198.51.100.1"), "a guard would hold it: 198.51.100.1/32 is not inside our networks")
	if len(b.routes()) != 0 || contents(t, banned) != "" {
		t.Fatalf("announced: %q %q", b.routes(), contents(t, banned))
	}

	has(try(0, "rib.edge.blackhole", "--announce", "203.0.113.9", "--for", "0s"), "it is active", "file: active", "taken back")
	if log := b.log(); len(log) != 2 || log[0][0] != "announce" || log[1][0] != "withdraw" {
		t.Errorf("the peer was told %q", log)
	}
	has(try(0, "script.mitigate", "--announce", "203.0.113.9", "--for", "0s"), "it is sent", "taken back")
	if got := contents(t, banned); got != "ban 203.0.113.9\nunban 203.0.113.9\n" {
		t.Errorf("the script was called for %q", got)
	}
	has(try(1, "rib.edge.blackhole", "--announce", "198.51.100.1"), "it is held", "not inside our networks")
	has(try(2, "rib.edge", "--announce", "203.0.113.9"), "several ways to act")
	has(try(2, "script.notify", "--announce", "203.0.113.9"), "does not act on the network")
	has(try(2, "rib.nobody"), "no action", "action.rib.edge")
	has(try(2, "rib.edge.black", "--target", "203.0.113.9"), "blackhole")
	if len(b.routes()) != 0 {
		t.Errorf("left behind: %q", b.routes())
	}
}

// A running daemon announces for a test what its guards let pass, with its own
// sessions, and it is audited; what is mitigated already is left alone.
func TestAnActionIsTriedByTheDaemon(t *testing.T) {
	b := newBed(t, "10m", "")
	b.run()
	out := mustRun(t, "action", "test", "rib.edge.blackhole", "--config", b.config, "--announce", "203.0.113.9", "--for", "0s").stdout
	for _, want := range []string{"203.0.113.9/32 discard", "it is active", "file: active", "taken back"} {
		if !strings.Contains(out, want) {
			t.Errorf("it says nothing of %q:\n%s", want, out)
		}
	}
	if audit := mustRun(t, "mitigations", "--audit", "--config", b.config).stdout; strings.Count(audit, "action test") != 2 {
		t.Errorf("the audit:\n%s", audit)
	}
	b.awaitRoutes(0)
	b.ban("203.0.113.9", "--for", "1h", "--action", "action.rib.edge.blackhole")
	if got := run(t, "action", "test", "rib.edge.blackhole", "--config", b.config, "--announce", "203.0.113.9"); got.code != exitConfig || !strings.Contains(got.stderr, "use another prefix") {
		t.Errorf("status %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if got := b.routes(); len(got) != 1 {
		t.Errorf("the peer has %q", got)
	}
	if refused := run(t, "ban", "203.0.113.10", "--config", b.config, "--for", "1h", "--reason", ""); refused.code != exitConfig || !strings.Contains(refused.stderr, "needs a reason") {
		t.Errorf("a ban without a reason: status %d: %s", refused.code, refused.stderr)
	}
	b.daemon.stop(t)
}

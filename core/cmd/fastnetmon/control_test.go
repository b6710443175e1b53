package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The control socket of a real daemon: what it tells of rates, plugins and
// attacks, a reload, and what is said when no daemon runs.
func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.hcl")
	put := func(pps string) {
		t.Helper()
		text := strings.NewReplacer("@DIR@", dir, "@PPS@", pps, "@GREETING@", "ahoy").Replace(reloadConfig)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1000")
	l := start(t, "run", "--config", path)
	l.waitLog(t, "attack started")
	ask := func(to any, args ...string) {
		t.Helper()
		out := mustRun(t, append(args, "--config", path, "--json")...).stdout
		if err := json.Unmarshal([]byte(out), to); err != nil {
			t.Fatalf("%v: %v in %s", args, err, out)
		}
	}
	var status struct {
		Revision string
		Captures struct{ Running int }
		Attacks  int
		Hosts    int
	}
	ask(&status, "status")
	if status.Captures.Running != 1 || status.Attacks != 1 || status.Hosts != 1 || status.Revision == "" {
		t.Errorf("status: %+v", status)
	}
	for _, command := range []string{"totals", "hosts", "plugins", "ledger", "attacks"} {
		if out := mustRun(t, command, "--config", path).stdout; !strings.Contains(out, "incoming") && !strings.Contains(out, "hello") {
			t.Errorf("%s says nothing:\n%s", command, out)
		}
	}
	if out := mustRun(t, "hosts", "--config", path, "--prefix", "203.0.113.7/32", "--group", "default").stdout; !strings.Contains(out, "203.0.113.7") {
		t.Errorf("hosts of a prefix:\n%s", out)
	}
	if out := mustRun(t, "hosts", "--config", path, "--prefix", "203.0.113.128/25").stdout; strings.Contains(out, "203.0.113.7") {
		t.Errorf("hosts of another prefix:\n%s", out)
	}
	if r := run(t, "hosts", "--config", path, "--group", "nobody"); r.code == 0 || !strings.Contains(r.stderr, "nobody") {
		t.Errorf("hosts of an unknown group: exit status %d\n%s", r.code, r.stderr)
	}
	explained := mustRun(t, "explain", "203.0.113.7", "--config", path).stdout
	for _, want := range []string{"home, by 203.0.113.0/24", "default, by", "monitor: the daemon's mode", "named by flood", "(crossed)", "crossed", "action.hello.greet"} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain does not say %q:\n%s", want, explained)
		}
	}
	if r := run(t, "explain", "nowhere", "--config", path); r.code != exitConfig || !strings.Contains(r.stderr, "no address") {
		t.Errorf("explain without an address: exit status %d\n%s", r.code, r.stderr)
	}
	put("200000")
	if out := mustRun(t, "reload", "--config", path).stdout; !strings.Contains(out, "pps 1000 becomes 200000") {
		t.Errorf("reload says:\n%s", out)
	}
	put("nonsense")
	if r := run(t, "reload", "--config", path); r.code != exitConfig || !strings.Contains(r.stderr+r.stdout, "nonsense") {
		t.Errorf("reload of a wrong file: exit status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	put("1000")
	l.stop(t)
	if r := run(t, "status", "--config", path); r.code != exitFailure || !strings.Contains(r.stderr, "fastnetmon run") {
		t.Errorf("status without a daemon: exit status %d\n%s", r.code, r.stderr)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// diary keeps what a mitigating script is called with; while there is a file
// fail it exits with status 3.
const diary = `#!/bin/sh
if [ -e "%[1]s/fail" ]; then echo "no such router" >&2; exit 3; fi
echo "$4 $1 $2 $FASTNETMON_MITIGATION_ID" >> "%[1]s/diary"
cat > /dev/null
`

// A script with role = "mitigate" bans and unbans once each, also where the
// daemon is killed in between; a failure is seen and healed.
func TestScriptMitigates(t *testing.T) {
	b := newBed(t, "2s", "")
	script := filepath.Join(b.dir, "ban.sh")
	if err := os.WriteFile(script, fmt.Appendf(nil, diary, b.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	fail := filepath.Join(b.dir, "fail")
	if err := os.WriteFile(fail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.configure(strings.Replace(b.text, "[action.rib.edge.blackhole]", "[action.script.ban]", 1) + fmt.Sprintf(`
action "script" "ban" {
  role    = "mitigate"
  command = [%q]
  details = false
  process {
    backoff = "10ms"
  }
}
`, script))
	called := func() string {
		text, err := os.ReadFile(filepath.Join(b.dir, "diary"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	b.run()
	b.flood(true)
	if m := b.await("203.0.113.7", "failed"); !strings.Contains(m.Cause, "exit status 3") || !strings.Contains(m.Cause, "no such router") {
		t.Errorf("the cause is %q", m.Cause)
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	m := b.await("203.0.113.7", "sent")
	ban := "ban 203.0.113.7 incoming " + m.ID + "\n"
	if got := called(); got != ban {
		t.Fatalf("called: %q, want %q", got, ban)
	}
	if err := b.daemon.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-b.daemon.done; err == nil {
		t.Error("the daemon was not killed")
	}
	close(b.daemon.done)
	b.run()
	b.await("203.0.113.7", "sent")
	if got := called(); got != ban {
		t.Fatalf("after the restart called: %q, want %q", got, ban)
	}
	b.flood(false)
	want := ban + "unban 203.0.113.7 incoming " + m.ID + "\n"
	for deadline := time.Now().Add(30 * time.Second); called() != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("called: %q, want %q\n%s", called(), want, b.daemon.stderr)
		}
	}
}

package service

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const examples = "../../../examples"

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parseUnit returns settings by "Section.Name".
func parseUnit(t *testing.T, text string) map[string]string {
	t.Helper()
	settings, section := map[string]string{}, ""
	for i, row := range strings.Split(text, "\n") {
		row = strings.TrimSpace(row)
		name, value, assigned := strings.Cut(row, "=")
		switch {
		case row == "" || row[0] == '#':
		case row[0] == '[' && row[len(row)-1] == ']':
			section = row[1 : len(row)-1]
		case assigned && section != "" && settings[section+"."+name] == "":
			settings[section+"."+name] = value
		default:
			t.Errorf("line %d of the unit: %q is no setting, or a second one", i+1, row)
		}
	}
	return settings
}

func TestUnit(t *testing.T) {
	text := example(t, "systemd/fastnetmon.service")
	unit := parseUnit(t, text)
	for name, want := range map[string]string{
		"Service.Type": "notify", "Service.NotifyAccess": "main", "Service.KillMode": "mixed", "Service.Restart": "on-failure",
		"Service.ExecReload": "/bin/kill -HUP $MAINPID", "Service.RuntimeDirectory": "fastnetmon", "Service.StateDirectory": "fastnetmon",
		"Service.User": "fastnetmon", "Service.NoNewPrivileges": "yes", "Install.WantedBy": "multi-user.target",
		"Service.CapabilityBoundingSet": unit["Service.AmbientCapabilities"],
	} {
		if unit[name] != want {
			t.Errorf("%s=%s, want %s", name, unit[name], want)
		}
	}
	// Stopping takes three times ten seconds at most: captures and filters,
	// events, actions and exports.
	for name, least := range map[string]time.Duration{"Service.TimeoutStopSec": 30 * time.Second, "Service.WatchdogSec": 10 * time.Second} {
		seconds, err := strconv.Atoi(unit[name])
		if err != nil || time.Duration(seconds)*time.Second <= least {
			t.Errorf("%s=%s, want more than %v", name, unit[name], least)
		}
	}
	if capabilities := strings.Fields(unit["Service.AmbientCapabilities"]); !slices.Contains(capabilities, "CAP_NET_RAW") {
		t.Errorf("capabilities %q: captures cannot open their sockets", capabilities)
	}
	verifyUnit(t, text)
}

// verifyUnit asks systemd where there is one. What is started need not be
// installed for it.
func verifyUnit(t *testing.T, text string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze here: the unit's settings were compared, not verified")
		return
	}
	path := filepath.Join(t.TempDir(), "fastnetmon.service")
	text = strings.Replace(text, "ExecStart=/usr/bin/fastnetmon ", "ExecStart=/bin/sh ", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func() (string, error) {
		out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(); err != nil || strings.Contains(out, "fastnetmon.service") {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
	// It would have told.
	if err := os.WriteFile(path, []byte(strings.Replace(text, "KillMode=mixed", "KillMode=mixde", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := verify(); !strings.Contains(out, "kill mode") {
		t.Errorf("systemd-analyze verify does not see a misspelt setting: %q", out)
	}
}

func TestInitExample(t *testing.T) {
	script := filepath.Join(examples, "init", "rc.local")
	if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if info, err := os.Stat(script); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("%s is not executable (%v)", script, err)
	}
	for _, flag := range []string{"run --daemon", "--pid-file ", "--config ", "--log syslog"} {
		if !strings.Contains(example(t, "init/rc.local"), flag) {
			t.Errorf("rc.local does not use %s", flag)
		}
	}
}

// The postrotate script is shell, and the file's braces match.
func TestLogrotateExample(t *testing.T) {
	text := example(t, "systemd/fastnetmon.logrotate")
	_, rest, found := strings.Cut(text, "postrotate\n")
	script, rest, ended := strings.Cut(rest, "endscript\n")
	if !found || !ended || strings.TrimSpace(rest) != "}" {
		t.Fatal("the file does not end with postrotate, endscript and a brace")
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(script, "USR1") {
		t.Error("nothing opens the log file anew")
	}
}

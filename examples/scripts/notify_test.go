// Package scripts tests the sample scripts.
package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// call runs the shell script; mail is what it has mailed.
func call(t *testing.T, env []string, args ...string) (out, mail string, err error) {
	t.Helper()
	dir := t.TempDir()
	// A mail program that keeps what it is given.
	program := "#!/bin/sh\n{ printf '%s|' \"$@\"; cat; } > '" + dir + "/mailed'\n"
	if err := os.WriteFile(filepath.Join(dir, "mail"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{"notify_about_attack.sh"}, args...)...)
	cmd.Env = append(slices.Clone(env), "PATH="+dir+":/usr/bin:/bin")
	cmd.Stdin = strings.NewReader("IP: 203.0.113.7\nAttack type: syn_flood\n")
	b, err := cmd.CombinedOutput()
	sent, _ := os.ReadFile(filepath.Join(dir, "mailed"))
	return string(b), string(sent), err
}

func TestNotify(t *testing.T) {
	const subject = "203.0.113.7: incoming attack of 60000 packets per second"
	for _, c := range []struct {
		env, args  []string
		out, mail  string
		wantFailed bool
	}{
		{args: []string{"203.0.113.7", "incoming", "60000", "ban"}, out: subject + "\n"},
		{args: []string{"203.0.113.7", "incoming", "60000", "ban"}, env: []string{"FASTNETMON_WOULD_HAVE=true"}, out: subject + " (monitor mode: nothing was done)\n"},
		{args: []string{"203.0.113.7", "incoming", "60000", "unban"}, env: []string{"FASTNETMON_WOULD_HAVE=true"}, out: "203.0.113.7: the incoming attack is over\n"},
		{args: []string{"203.0.113.7", "incoming", "60000", "attack_details"}, out: "203.0.113.7: packets of the incoming attack\n"},
		{
			args: []string{"203.0.113.7", "incoming", "60000", "ban"}, env: []string{"MAIL_TO=noc@example.net"},
			out: subject + "\n", mail: "-s|FastNetMon: " + subject + "|noc@example.net|IP: 203.0.113.7\nAttack type: syn_flood\n",
		},
		{args: []string{"203.0.113.7", "incoming", "60000", "else"}, out: "unknown action: else\n", wantFailed: true},
		{args: []string{"203.0.113.7"}, out: "usage: notify_about_attack.sh IP incoming|outgoing PPS ban|attack_details|unban\n", wantFailed: true},
	} {
		out, mail, err := call(t, c.env, c.args...)
		if out != c.out || mail != c.mail || (err != nil) != c.wantFailed {
			t.Errorf("%v %v: said %q, mailed %q, %v", c.env, c.args, out, mail, err)
		}
	}
}

// The documentation has them run as they stand.
func TestExecutable(t *testing.T) {
	for _, name := range []string{"notify_about_attack.sh", "notify_about_attack.py"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable: %v, %v", name, info, err)
		}
	}
}

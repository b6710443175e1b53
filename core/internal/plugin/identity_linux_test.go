package plugin

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// A plugin sees nothing of our environment but what is on the list, and its
// block cannot change what the contract sets.
func TestEnvironment(t *testing.T) {
	t.Setenv("FNM_SECRET", "x")
	t.Setenv("LANG", "C.UTF-8")
	p, _ := launchStub(t, "good", func(s *Spec) {
		s.Env = map[string]string{"OWN": "value", "TZ": "UTC", "FASTNETMON_RING_FD": "77", "PLUGIN_MIN_PORT": "1"}
	})
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	env := "\x00" + string(text)
	for _, want := range []string{
		"OWN=value", "TZ=UTC", "LANG=C.UTF-8", "FASTNETMON_RING_FD=3", "FASTNETMON_LIVENESS_FD=4",
		"FASTNETMON_LOG_LEVEL=debug", "PLUGIN_MIN_PORT=10000", "PLUGIN_CLIENT_CERT=", "PLUGIN_UNIX_SOCKET_DIR=" + p.spec.RuntimeDir,
	} {
		if !strings.Contains(env, "\x00"+want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, other := range []string{"FNM_SECRET", "HOME=", "FASTNETMON_RING_FD=77"} {
		if strings.Contains(env, "\x00"+other) {
			t.Errorf("%s is there", other)
		}
	}
	if _, err := environment(map[string]string{"A=B": "c"}, nil); err == nil {
		t.Error("a name with = was accepted")
	}
}

// A plugin gains no privileges and has none but those that it was given and we
// have ourselves.
func TestNoNewPrivileges(t *testing.T) {
	p, log := launchStub(t, "good", func(s *Spec) { s.Capabilities = []string{"CAP_NET_RAW"} })
	status := procStatus(t, fmt.Sprint(p.PID()))
	if status["NoNewPrivs"] != "1" {
		t.Error("the plugin may gain privileges")
	}
	effective, permitted := held()
	given := permitted & (1 << unix.CAP_NET_RAW)
	if got := status["CapEff"]; effective&(1<<unix.CAP_SETPCAP) != 0 && got != fmt.Sprintf("%016x", given) {
		t.Errorf("it has the capabilities %s", got)
	}
	if warned := log.count("capability=CAP_NET_RAW") > 0; warned == (given != 0) {
		t.Errorf("we have it: %t; log:\n%s", given != 0, log)
	}
	if procStatus(t, "thread-self")["NoNewPrivs"] != "0" {
		t.Error("our own threads were restricted")
	}
}

// A plugin whose block names no capabilities has none, in any of its sets, also
// as root; one that names some has these in all of them. Its children have no
// more. Where we are an ordinary user there is nothing to take away.
func TestCapabilities(t *testing.T) {
	effective, permitted := held()
	mayDrop := effective&(1<<unix.CAP_SETPCAP) != 0
	users := []string{""}
	if mayChangeUser() {
		users = append(users, otherUser(t))
	}
	for _, user := range users {
		for _, names := range [][]string{nil, {"CAP_NET_RAW"}, {"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"}} {
			t.Run(user+strings.Join(names, "+"), func(t *testing.T) {
				dir, program := openDir(t)
				p, log := launchStub(t, "good", func(s *Spec) { s.User, s.Capabilities, s.Path, s.Dir = user, names, program, dir })
				want := uint64(0)
				for _, name := range names {
					want |= 1 << slices.Index(capabilityNames, strings.ToLower(strings.TrimPrefix(name, "CAP_"))) & permitted
				}
				status := procStatus(t, fmt.Sprint(p.PID()))
				for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"} {
					if set == "CapBnd" && !mayDrop {
						continue // no harm: nothing can be gained from it
					}
					if got := status[set]; got != fmt.Sprintf("%016x", want) && (mayDrop || os.Geteuid() != 0) {
						t.Errorf("%s is %s, want %016x", set, got, want)
					}
				}
				if rights := "without capabilities"; want == 0 && mayDrop && log.count(rights) != 1 {
					t.Errorf("the log does not say %q:\n%s", rights, log)
				}
			})
		}
	}
}

// What root may do by capabilities alone, a plugin of root without any may not.
func TestRootWithoutCapabilities(t *testing.T) {
	if effective, _ := held(); os.Geteuid() != 0 || effective&(1<<unix.CAP_SETPCAP) == 0 {
		sdktest.Absent(t, "only root gives capabilities up")
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		capabilities []string
		may          string
	}{{nil, "may not"}, {[]string{"CAP_DAC_OVERRIDE"}, "may"}} {
		dir, _ := openDir(t)
		path := filepath.Join(dir, "script")
		if err := os.WriteFile(path, []byte("#!/bin/sh\nif cat "+file+" 2>/dev/null; then echo may >&2; else echo may not >&2; fi\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		spec, _ := stubSpec(t, "good")
		spec.Path, spec.Capabilities = path, c.capabilities
		if err := launchFails(t, spec); !strings.HasSuffix(err.Error(), "\n    "+c.may) {
			t.Errorf("with %v it says %v, want %q", c.capabilities, err, c.may)
		}
	}
}

func procStatus(t *testing.T, who string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + who + "/status")
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.TrimSpace(value)
	}
	return status
}

// openDir is a directory that every user can reach, with a stub in it.
func openDir(t *testing.T) (dir, program string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fnmuser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(built(t, "stub"))
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "capture-good")
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, program
}

// Whoever the plugin runs as, we reach its socket and it reaches its own.
// Where we may not change users it runs as we do, and the log says so.
func TestOtherUser(t *testing.T) {
	dir, program := openDir(t)
	p, log := launchStub(t, "good", func(s *Spec) {
		s.User, s.Path, s.Dir, s.Capabilities = otherUser(t), program, dir, []string{"CAP_NET_RAW"}
	})
	stat, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	changed := int(stat.Sys().(*syscall.Stat_t).Uid) != os.Geteuid()
	if changed != mayChangeUser() {
		t.Errorf("it runs as another user: %t", changed)
	}
	_, permitted := held()
	given := fmt.Sprintf("%016x", permitted&(1<<unix.CAP_NET_RAW))
	if got := procStatus(t, fmt.Sprint(p.PID()))["CapEff"]; changed && got != given {
		t.Errorf("it has the capabilities %s, not %s", got, given)
	}
	if warned := log.count("plugin runs as this program's user") > 0; warned == changed {
		t.Errorf("it runs as another user: %t; log:\n%s", changed, log)
	}
}

// otherUser is somebody whom we are not.
func otherUser(t *testing.T) string {
	t.Helper()
	us, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err == nil && us.Username == "nobody" {
		return "daemon"
	}
	return "nobody"
}

// A directory that the plugin's user may not enter is told by its name; where
// we may not change users, it is ours to enter.
func TestOtherUserDir(t *testing.T) {
	noTrace(t)
	dir, program := openDir(t)
	closed := filepath.Join(dir, "closed")
	sub := filepath.Join(closed, "a", "b")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(sub, link); err != nil {
		t.Fatal(err)
	}
	stranger := identity{credential: &syscall.Credential{Uid: uint32(os.Geteuid()) + 4242, Gid: uint32(os.Getegid()) + 4242}}
	for _, dir := range []string{closed, sub, link} {
		want := fmt.Sprintf("working directory %s: user %q may not enter %s (mode 0700)", dir, otherUser(t), closed)
		if err := explainDir(dir, otherUser(t), stranger, syscall.EACCES); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("explained as %v", err)
		}
		spec, _ := stubSpec(t, "good")
		spec.User, spec.Path, spec.Dir = otherUser(t), program, dir
		p, err := Launch(context.Background(), spec)
		if err == nil {
			p.Stop(context.Background())
		}
		if mayChangeUser() && (err == nil || !strings.Contains(err.Error(), want)) || !mayChangeUser() && err != nil {
			t.Errorf("error %v", err)
		}
	}
}

func TestDir(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{dir: dir, "": ours, "testdata": filepath.Join(ours, "testdata")} {
		p, _ := launchStub(t, "good", func(s *Spec) { s.Dir = given })
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID())); err != nil || got != want {
			t.Errorf("with %q it works in %q, %v", given, got, err)
		}
	}
}

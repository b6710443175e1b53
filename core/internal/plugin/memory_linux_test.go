package plugin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// A plugin that allocates without end meets its limit, and its end is told with
// the cause.
func TestMemoryLimit(t *testing.T) {
	i, s, log := startInstance(t, "allocates", func(c *Config) { c.Spec.Memory = 80 << 20 })
	eventually(t, "it was started again", func() bool { return i.Status().Launches >= 2 })
	i.Stop(context.Background())
	if err := s.reason(); err == nil || err.Error() != "killed: out of memory limit 80MiB" {
		t.Errorf("gone because of %v", err)
	}
	if log.count(`cause="out of memory limit 80MiB"`) == 0 || log.count(", memory limit 80MiB by ") == 0 {
		t.Errorf("log:\n%s", log)
	}
}

// One that keeps within its limit is told about it and left alone.
func TestMemoryWithinLimit(t *testing.T) {
	p, _ := launchStub(t, "good", func(s *Spec) { s.Memory = 100 << 20 })
	env, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/environ")
	if err != nil || !strings.Contains("\x00"+string(env), "\x00GOMEMLIMIT=94371840\x00") {
		t.Errorf("environment %q, %v", env, err)
	}
	if b := p.run.Load().memory; b.group == nil {
		var limit unix.Rlimit
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_DATA, nil, &limit); err != nil || limit.Max != 200<<20+slack {
			t.Errorf("limit %+v, %v", limit, err)
		}
	}
	if exit := p.Stop(context.Background()); exit.Cause != nil || exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
}

// The block's own word to Go's runtime counts.
func TestMemoryEnvironment(t *testing.T) {
	b := &bound{limit: 1 << 30}
	if got := b.environment(map[string]string{"GOMEMLIMIT": "off"}); got != nil {
		t.Errorf("it adds %v", got)
	}
	var none *bound
	none.end(nil)
	if none.environment(nil) != nil || none.exceeded(&Exit{Code: 2, Lines: []string{"out of memory"}}) {
		t.Error("no limit does something")
	}
}

// When memory runs out, plugins are to die before the core.
func TestPluginsDieFirst(t *testing.T) {
	p, _ := launchStub(t, "good", nil)
	score := func(who string) int {
		text, err := os.ReadFile("/proc/" + who + "/oom_score_adj")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if ours, theirs := score("self"), score(strconv.Itoa(p.PID())); theirs <= ours && ours < 1000 {
		t.Errorf("the plugin's oom_score_adj is %d, ours %d", theirs, ours)
	}
}

func TestKillFor(t *testing.T) {
	p, log := launchStub(t, "good", nil)
	p.KillFor(errors.New("the ring of worker 0 lies"))
	p.KillFor(errors.New("a later reason"))
	p.Stop(context.Background())
	if got := p.Exit().Summary(); got != "killed: the ring of worker 0 lies" {
		t.Errorf("it says %q", got)
	}
	if log.count(`cause="the ring of worker 0 lies"`) != 1 {
		t.Errorf("log:\n%s", log)
	}
}

func TestOwnGroup(t *testing.T) {
	const mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
	for _, c := range []struct{ self, mounts, want string }{
		{"0::/system.slice/fastnetmon.service\n", mounts, "/sys/fs/cgroup/system.slice/fastnetmon.service"},
		{"4:memory:/a\n0::/user.slice\n", "29 23 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" + mounts, "/sys/fs/cgroup/user.slice"},
		{"0::/box/core\n", "30 23 0:26 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/core"},
		{"0::/other\n", "30 23 0:26 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", ""},
		{"4:memory:/a\n", mounts, ""},
		{"0::/a\n", "29 23 0:25 / /x rw - tmpfs none rw\n\n", ""},
		{"", "garbage", ""},
	} {
		got, err := ownGroup(c.self, c.mounts)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v, want %q", c.self, got, err, c.want)
		}
	}
}

// A tree moves whoever is in its root out of the way, and gives each process a
// cgroup with its limit. (Plain files stand for the kernel's.)
func TestTree(t *testing.T) {
	dir := t.TempDir()
	if _, err := openTree(dir); err == nil {
		t.Error("a directory that is no cgroup was taken")
	}
	for name, text := range map[string]string{"cgroup.controllers": "cpu pids\n", "cgroup.procs": "17\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openTree(dir); err == nil || !strings.Contains(err.Error(), "no memory controller") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte("cpu memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, groupPrefix+"left"), 0o700); err != nil {
		t.Fatal(err)
	}
	tree, err := openTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	g, err := tree.add("capture-a-b", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer g.file.Close()
	for path, want := range map[string]string{
		"core/cgroup.procs": "17", "cgroup.subtree_control": "+memory",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", path, got, err, want)
		}
	}
	for name, want := range map[string]string{"memory.max": "1048576", "memory.swap.max": "0", "memory.oom.group": "1"} {
		if got, err := os.ReadFile(filepath.Join(g.dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, groupPrefix+"left")); err == nil {
		t.Error("what was left of an earlier run is still there")
	}
	for text, killed := range map[string]bool{"low 0\noom 3\noom_kill 0\n": false, "oom 1\noom_kill 2\n": true, "": false} {
		if err := os.WriteFile(filepath.Join(g.dir, "memory.events"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if g.killed() != killed {
			t.Errorf("%q means killed: %t", text, !killed)
		}
	}
}

// In a real cgroup, also one without controllers: a process begins its life in
// it, and remove ends what has left the process group.
func TestGroup(t *testing.T) {
	base := ""
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err == nil {
			base = mount
		}
	}
	dir := filepath.Join(base, "fastnetmon-test-"+strconv.Itoa(os.Getpid()))
	if base == "" || os.Mkdir(dir, 0o755) != nil {
		sdktest.Absent(t, "no cgroup v2 in which this user may make a group")
	}
	defer func() { _ = unix.Rmdir(dir) }()
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil {
		sdktest.Absent(t, "the kernel is older than 5.14")
	}
	file, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := &group{dir: dir, file: file}
	cmd := exec.Command("sh", "-c", "setsid sleep 600 & echo $!; exec sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.into(cmd.SysProcAttr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		sdktest.Absent(t, "a process cannot be started in a cgroup here: "+err.Error())
	}
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	apart, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are in the group", func() bool {
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		session, err := unix.Getsid(apart)
		return len(strings.Fields(string(procs))) == 2 && err == nil && session == apart
	})
	killGroup(cmd.Process.Pid, syscall.SIGKILL)
	if processGone(apart) {
		t.Error("the process that left the group was killed with it: the test proves nothing")
	}
	begin := time.Now()
	if err := g.remove(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if took := time.Since(begin); !processGone(apart) || took > 2*removeLimit {
		t.Errorf("after %v the process that left the group lives: %t", took, !processGone(apart))
	}
}

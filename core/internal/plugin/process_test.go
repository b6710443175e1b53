package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func launchStub(t *testing.T, behaviour string, edit func(*Spec)) (*Process, *logBuffer) {
	t.Helper()
	noTrace(t)
	spec, log := stubSpec(t, behaviour)
	if edit != nil {
		edit(&spec)
	}
	p, err := Launch(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Stop(ctx)
		eventually(t, "nothing of the group is left", func() bool { return groupGone(p.PID()) })
	})
	return p, log
}

func TestLaunchAndStop(t *testing.T) {
	p, log := launchStub(t, "good", nil)
	if d := p.Description(); d.Name != "good" || d.Version != "1.2.3" {
		t.Errorf("description %+v", d)
	}
	if pgid, err := syscall.Getpgid(p.PID()); err != nil || pgid != p.PID() {
		t.Errorf("the plugin's group is %d, %v", pgid, err)
	}
	entries, err := os.ReadDir(p.spec.RuntimeDir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the socket was not unlinked: %v %v", entries, err)
	}
	var exit Exit
	within(t, 5*time.Second, "stopping", func(ctx context.Context) { exit = p.Stop(ctx) })
	if !exit.Expected || exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
	if log.count("plugin stopped") != 1 || log.count("[ERROR]") != 0 || log.count("[WARN]") != 0 {
		t.Errorf("log:\n%s", log)
	}
	if again := p.Stop(context.Background()); again.Code != 0 {
		t.Errorf("second stop: %+v", again)
	}
}

// A plugin sees nothing of our environment but what is on the list, and its
// block cannot change what the contract sets.
func TestEnvironment(t *testing.T) {
	t.Setenv("FNM_SECRET", "x")
	t.Setenv("LANG", "C.UTF-8")
	p, _ := launchStub(t, "good", func(s *Spec) {
		s.Env = map[string]string{"OWN": "value", "GORACE": "atexit_sleep_ms=0", "TZ": "UTC", "FASTNETMON_RING_FD": "77", "PLUGIN_MIN_PORT": "1"}
	})
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc on this system")
	}
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

func TestNoNewPrivileges(t *testing.T) {
	p, _ := launchStub(t, "good", func(s *Spec) { s.Capabilities = []string{"CAP_NET_RAW"} })
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc on this system")
	}
	if !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Error("the plugin may gain privileges")
	}
	if os.Geteuid() == 0 && !strings.Contains(string(status), "CapEff:\t0000000000002000") {
		t.Errorf("capabilities: %s", status[strings.Index(string(status), "CapInh"):])
	}
	ours, err := os.ReadFile("/proc/thread-self/status")
	if err != nil || strings.Contains(string(ours), "NoNewPrivs:\t1") {
		t.Errorf("our own threads were restricted, %v", err)
	}
}

// Whoever the plugin runs as, we reach its socket and it reaches its own.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "fnmuser")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, _ := os.Executable()
	program := filepath.Join(dir, "capture-good")
	copyFile(t, exe, program)
	p, _ := launchStub(t, "good", func(s *Spec) { s.User, s.Path = "nobody", program })
	stat, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if uid := stat.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("the plugin runs as root")
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestIdentityMistakes(t *testing.T) {
	log := hclog.NewNullLogger()
	if _, err := resolveIdentity("no-such-user-here", nil, log); err == nil || !strings.Contains(err.Error(), "no-such-user-here") {
		t.Errorf("user: %v", err)
	}
	if _, err := resolveCapabilities([]string{"CAP_NET_RAV"}, log); err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("capability: %v", err)
	}
}

func TestChecksum(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "good")
	spec.SHA256 = make([]byte, 32)
	_, err := Launch(context.Background(), spec)
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("error %v", err)
	}
}

// A program that is a script runs too, with its interpreter.
func TestScript(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "script")
	if err := os.Remove(spec.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec.Path, []byte("#!/bin/sh\necho hello from a script\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Launch(context.Background(), spec)
	if err == nil || !strings.Contains(err.Error(), "hello from a script") {
		t.Errorf("error %v", err)
	}
}

func TestLaunchFailures(t *testing.T) {
	for _, c := range []struct {
		behaviour string
		want      []string
	}{
		{"garbage", []string{"Loading modules, please wait", "stdout before the handshake"}},
		{"longline", []string{"not a plugin of this program"}},
		{"exits", []string{"exit code 3", "cannot read /etc/stub.conf"}},
		{"silent", []string{"exit code 0", "not a plugin of this program", "wrote nothing"}},
		{"mute", []string{"no answer within 1s", "hangs before the handshake"}},
		{"elsewhere", []string{"does not listen in the directory"}},
		{"newer", []string{"version 7 of the plugin contract, this program version 1", "update this program"}},
		{"lies", []string{"version 2 of the plugin contract, this program version 1"}},
		{"misnamed", []string{`capture "other", not capture "misnamed"`}},
		{"describehangs", []string{"did not describe itself", "no answer within 1s"}},
		{"describepanics", []string{"did not describe itself", "no description today"}},
		{"stopsearly", []string{"did not describe itself", "no answer within 1s"}},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			noTrace(t)
			spec, log := stubSpec(t, c.behaviour)
			spec.StartTimeout = time.Second
			if c.behaviour != "mute" && !strings.HasPrefix(c.behaviour, "describeh") && c.behaviour != "stopsearly" {
				spec.StartTimeout = 10 * time.Second // those answer, if late on a busy machine
			}
			start := time.Now()
			p, err := Launch(context.Background(), spec)
			if err == nil {
				p.Stop(context.Background())
				t.Fatal("it was launched")
			}
			if took := time.Since(start); took > spec.StartTimeout+3*time.Second {
				t.Errorf("it took %s", took)
			}
			for _, want := range append(c.want, "capture", spec.Path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if log.count("[ERROR]") > 0 {
				t.Errorf("an error is told twice:\n%s", log)
			}
		})
	}
}

func TestLaunchCancelled(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "mute")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	within(t, 3*time.Second, "giving up", func(context.Context) {
		if _, err := Launch(ctx, spec); err == nil {
			t.Error("it was launched")
		}
	})
}

func TestNotAProgram(t *testing.T) {
	noTrace(t)
	for name, content := range map[string]string{"wrong architecture": "\x7fELF\x02\x01\x01", "no interpreter": "#!/no/such/interpreter\n"} {
		spec, _ := stubSpec(t, "bad")
		if err := os.Remove(spec.Path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(spec.Path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Launch(context.Background(), spec)
		if err == nil || !strings.Contains(err.Error(), "cannot start "+spec.Path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A plugin that is stopped, hangs or ignores signals ends all the same.
func TestStopStubborn(t *testing.T) {
	for _, behaviour := range []string{"stops", "drainhangs", "ignoring"} {
		t.Run(behaviour, func(t *testing.T) {
			p, _ := launchStub(t, behaviour, func(s *Spec) { s.DrainTimeout = 200 * time.Millisecond })
			within(t, 5*time.Second, "stopping", func(ctx context.Context) { p.Stop(ctx) })
			if !groupGone(p.PID()) {
				t.Error("it is still there")
			}
		})
	}
}

func TestUnexpectedExit(t *testing.T) {
	p, log := launchStub(t, "crashes", nil)
	if _, err := p.Host().Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	exit := p.Exit()
	if exit.Expected || exit.Code != 2 || len(exit.Panic) == 0 || !strings.Contains(exit.Summary(), "boom") {
		t.Errorf("exit %+v", exit)
	}
	p.Stop(context.Background())
	if log.count("plugin ended unexpectedly") != 1 || log.count("panic: boom") == 0 {
		t.Errorf("log:\n%s", log)
	}
}

func TestSpam(t *testing.T) {
	p, log := launchStub(t, "spams", nil)
	if _, err := p.Host().Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last line is seen", func() bool {
		last := p.out.last()
		return len(last) > 0 && strings.Contains(last[len(last)-1], "spam over")
	})
	p.Stop(context.Background())
	if lines := log.count("\n"); lines > 2*lineBurst {
		t.Errorf("%d lines were logged", lines)
	}
	if log.count("left out") == 0 {
		t.Error("it is not told that lines were left out")
	}
}

// Grandchildren that hold the pipes keep nothing from ending: those in the
// group die, one that has left it is not waited for.
func TestGrandchildren(t *testing.T) {
	p, _ := launchStub(t, "grandchild", nil)
	if _, err := p.Host().Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var pids []int
	eventually(t, "both grandchildren are there", func() bool {
		pids = pids[:0]
		for _, line := range p.out.last() {
			if _, pid, ok := strings.Cut(line, "grandchild "); ok {
				n, _ := strconv.Atoi(pid)
				pids = append(pids, n)
			}
		}
		return len(pids) == 2
	})
	within(t, 4*time.Second, "the end", func(context.Context) {
		_ = syscall.Kill(p.PID(), syscall.SIGKILL)
		<-p.Done()
		p.Stop(context.Background())
	})
	eventually(t, "the one in the group is dead", func() bool { return processGone(pids[0]) })
	_ = syscall.Kill(pids[1], syscall.SIGKILL)
}

// When the core is killed, its plugins end: by the kernel's doing on Linux, by
// the liveness pipe elsewhere.
func TestCoreKilled(t *testing.T) {
	noTrace(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fnm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	core := exec.Command(exe, "intermediate", stubProgram(t, "good"), dir)
	stdout, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	_ = core.Process.Kill()
	start := time.Now()
	_ = core.Wait()
	eventually(t, "the plugin is gone", func() bool { return processGone(pid) })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the plugin lived on for %s", took)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// intermediate is a core that launches one plugin, tells its id and hangs.
func intermediate(path, dir string) int {
	p, err := Launch(context.Background(), Spec{Kind: "capture", Name: "good", Instance: "test", Path: path, RuntimeDir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.PID())
	hang()
	return 0
}

func TestRuntimeDir(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []string{"relative", "/" + strings.Repeat("x", maxRuntimeDir)} {
		if err := prepareRuntimeDir(bad, false); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "plugin-dir12", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "kept"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("left: %v", left)
	}
}

func BenchmarkLaunch(b *testing.B) {
	dir, err := os.MkdirTemp("", "fnm")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spec := Spec{Kind: "capture", Name: "good", Instance: "bench", Path: stubProgram(b, "good"), RuntimeDir: dir}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for b.Loop() {
		p, err := Launch(context.Background(), spec)
		if err != nil {
			b.Fatal(err)
		}
		if p.Description().Name != "good" {
			b.Fatal("wrong plugin")
		}
		b.StopTimer()
		p.Kill()
		p.Stop(gone)
		b.StartTimer()
	}
}

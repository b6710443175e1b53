package plugin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
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
	within(t, "stopping", func() { exit = p.Stop(context.Background()) })
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

// A plugin that is stopped, hangs or ignores signals ends all the same.
func TestStopStubborn(t *testing.T) {
	for _, behaviour := range []string{"stops", "drainhangs", "ignoring"} {
		t.Run(behaviour, func(t *testing.T) {
			p, _ := launchStub(t, behaviour, func(s *Spec) { s.DrainTimeout = 200 * time.Millisecond })
			within(t, "stopping", func() { p.Stop(context.Background()) })
			if !groupGone(p.PID()) {
				t.Error("it is still there")
			}
		})
	}
}

func TestUnexpectedExit(t *testing.T) {
	p, log := launchStub(t, "crashes", nil)
	_ = p.Host().Watch(context.Background(), patience, func(host.Health) {})
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
	start := time.Now()
	if _, err := p.Host().Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last line is seen", func() bool {
		last := p.out.last()
		return len(last) > 0 && strings.Contains(last[len(last)-1], "spam over")
	})
	p.Stop(context.Background())
	took := int(time.Since(start).Seconds()) + 1
	if lines := log.count("\n"); lines > lineBurst+took*linesPerSecond+2*maxCauses {
		t.Errorf("%d lines were logged in %d s", lines, took)
	}
	if log.count("left out") == 0 {
		t.Error("it is not told that lines were left out")
	}
}

// Grandchildren that hold the pipes keep nothing from ending, and die: those in
// the group and, on Linux, one that has left it.
func TestGrandchildren(t *testing.T) {
	p, _ := launchStub(t, "grandchild", nil)
	if _, err := p.Host().Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var pids []int
	eventually(t, "both grandchildren are there", func() bool { pids = grandchildren(p); return len(pids) == 2 })
	within(t, "the end", func() {
		_ = syscall.Kill(p.PID(), syscall.SIGKILL)
		<-p.Done()
		p.Stop(context.Background())
	})
	eventually(t, "the one in the group is dead", func() bool { return processGone(pids[0]) })
	if runtime.GOOS != "linux" {
		_ = syscall.Kill(pids[1], syscall.SIGKILL)
	}
	eventually(t, "the one that has left it is dead", func() bool { return processGone(pids[1]) })
}

// grandchildren are the processes that the stub of this name tells of.
func grandchildren(p *Process) (pids []int) {
	for _, line := range p.out.last() {
		if _, pid, ok := strings.Cut(line, "grandchild "); ok {
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
	}
	return pids
}

// When the core is killed, its plugins end: by the kernel's doing on Linux, by
// the liveness pipe elsewhere. On Linux the guard ends what they have started.
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
	core := exec.Command(exe, "intermediate", stubProgram(t, "grandchild"), dir)
	stdout, err := core.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	var pid, near, apart int
	if _, err := fmt.Fscan(stdout, &pid, &near, &apart); err != nil {
		_ = core.Wait()
		t.Fatal(err)
	}
	_ = core.Process.Kill()
	_ = core.Wait()
	eventually(t, "the plugin is gone", func() bool { return processGone(pid) })
	if runtime.GOOS == "linux" {
		eventually(t, "what it has started is gone", func() bool { return processGone(near) && processGone(apart) })
	} else {
		_ = syscall.Kill(near, syscall.SIGKILL)
		_ = syscall.Kill(apart, syscall.SIGKILL)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
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

package plugin

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// A guard that is asked to end by a signal stays; one that is killed is
// replaced; Stop leaves none.
func TestGuard(t *testing.T) {
	log, text := newLog()
	g := StartGuard(log)
	guards := func() (pids []int) {
		out, _ := exec.Command("pgrep", "-P", strconv.Itoa(syscall.Getpid()), "-f", guard.Argument).Output()
		for pid := range strings.FieldsSeq(string(out)) {
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
		return pids
	}
	eventually(t, "there is a guard", func() bool { return len(guards()) == 1 })
	first := guards()[0]
	eventually(t, "it reads", func() bool { return sleeps(first) })
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		_ = syscall.Kill(first, sig)
	}
	time.Sleep(100 * time.Millisecond)
	if processGone(first) {
		t.Error("it obeyed a signal")
	}
	_ = syscall.Kill(first, syscall.SIGKILL)
	eventually(t, "there is another", func() bool { return len(guards()) == 1 && guards()[0] != first })
	if text.count("is started again") != 1 {
		t.Errorf("log:\n%s", text)
	}
	within(t, "the end", g.Stop)
	if left := guards(); len(left) > 0 {
		t.Errorf("guards %v are left", left)
	}
}

// sleeps tells of a process that ignores SIGTERM, as the guard does once it is
// one.
func sleeps(pid int) bool {
	out, err := exec.Command("grep", "SigIgn", "/proc/"+strconv.Itoa(pid)+"/status").Output()
	if err != nil {
		return false
	}
	mask, err := strconv.ParseUint(strings.Fields(string(out))[1], 16, 64)
	return err == nil && mask&(1<<(syscall.SIGTERM-1)) != 0
}

// The next run ends what an earlier one has left, and nothing that has another
// mark or is no mark at all.
func TestEndRun(t *testing.T) {
	other := mark.New()
	start := func(value string) *exec.Cmd {
		cmd := exec.CommandContext(context.Background(), "sleep", "600")
		cmd.Env = []string{"PATH=/usr/bin:/bin", guard.EnvMark + "=" + value}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	left, spared := start(other+".7;"), start(mark.New()+".7;")
	eventually(t, "they run", func() bool { return mark.Signal(guard.EnvMark+"="+other, 0) == 1 })
	for _, nobody := range []string{"", "7", strings.Repeat("*", 32), strings.Repeat("a", 33)} {
		if !guard.EndRun(nobody) || processGone(left.Process.Pid) {
			t.Errorf("%q ends somebody", nobody)
		}
	}
	if !guard.EndRun(other) || !processGone(left.Process.Pid) {
		t.Error("what was left is there")
	}
	if processGone(spared.Process.Pid) {
		t.Error("another run's process is gone")
	}
}

package mark

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What has left group and session, and goes on starting others, is found and
// ended; who has another mark, or a longer name, is not.
func TestEnd(t *testing.T) {
	mine, other := New(), New()
	if len(mine) != 32 || mine == other {
		t.Fatalf("marks %q and %q", mine, other)
	}
	start := func(mark, script string) (pid int) {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = append(os.Environ(), "TEST_MARK="+mark+";")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	apart := start(mine, "setsid sleep 600 > /dev/null 2>&1 & echo $!")
	start(mine, "setsid sh -c 'while :; do sleep 600 & sleep 0.01; done' > /dev/null 2>&1 & echo $!")
	spared := start(other, "setsid sleep 600 > /dev/null 2>&1 & echo $!")
	defer End("TEST_MARK="+other, time.Second)
	for end := time.Now().Add(20 * time.Second); Signal("TEST_MARK="+mine, 0) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d processes found, want 3 at least", Signal("TEST_MARK="+mine, 0))
		}
	}
	for _, wrong := range []string{"", "MARK=" + mine, "TEST_MARK=" + mine + "x"} {
		if n := Signal(wrong, 0); n != 0 {
			t.Errorf("%d processes have %q", n, wrong)
		}
	}
	if !End("TEST_MARK="+mine+";", 20*time.Second) || syscall.Kill(apart, 0) == nil && !zombie(apart) {
		t.Error("a process with the mark is left")
	}
	if syscall.Kill(spared, 0) != nil {
		t.Error("a process with another mark was ended")
	}
	if !End("TEST_MARK="+mine, 0) {
		t.Error("somebody is left, though nobody is")
	}
}

// zombie tells of a dead process that nobody has waited for.
func zombie(pid int) bool {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return strings.Contains(string(stat), ") Z ")
}

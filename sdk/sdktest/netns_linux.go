package sdktest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const namespaceEnv = "FASTNETMON_TEST_NETNS"

// InNamespace runs the test again, alone, in a process of its own with an empty
// network, where it returns true: whatever the test does to it, interfaces,
// addresses, floods, nobody else sees, and it ends with the process. Where it
// returns false the test has been run and is to return. It needs root, the
// program ip and those named.
func InNamespace(t *testing.T, programs ...string) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("it makes a network namespace")
	}
	for _, p := range append(programs, "ip") {
		Program(t, p)
	}
	if os.Getenv(namespaceEnv) != "" {
		if out, err := exec.Command(Program(t, "ip"), "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip link: %v: %s", err, out)
		}
		return true
	}
	if os.Getuid() != 0 {
		Absent(t, "only root makes network namespaces")
	}
	t.Parallel()                                                                               // it is alone in its process, and mostly waits
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m") //nolint:gosec // the test itself
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Errorf("in the namespace: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("skipped in the namespace")
	}
	return false
}

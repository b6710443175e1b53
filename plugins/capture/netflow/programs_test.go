//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// command runs a program to its end.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sdktest.Program(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// start starts a program; what it returns ends it by a signal, and so does the
// end of the test.
func start(t *testing.T, env []string, sig os.Signal, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(sdktest.Program(t, name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Logf("%s: %s", name, out.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

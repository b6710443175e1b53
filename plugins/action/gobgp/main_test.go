package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// envNamespace tells the test program that it is in a network namespace of its
// own.
const envNamespace = "TEST_GOBGP_NAMESPACE"

// TestMain lets the test program be the plugin, for tests that kill it, and
// moves the tests into a network namespace where that is possible: there they
// have any address and port they like, and disturb nobody.
func TestMain(m *testing.M) {
	if os.Getenv(envPlugin) != "" {
		runPlugin()
		return
	}
	if os.Getenv(envNamespace) == "" {
		if code, ok := inNamespace(); ok {
			os.Exit(code)
		}
		os.Exit(m.Run())
	}
	if err := addresses(); err != nil {
		fmt.Fprintln(os.Stderr, "making addresses in the network namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// addresses gives the namespace's loopback interface addresses to speak from:
// all of 10.77.0.0/16, and some of IPv6.
func addresses() error {
	lines := []string{"link set lo up", "address add 10.77.0.1/16 dev lo"}
	for i := range 16 {
		lines = append(lines, fmt.Sprintf("address add fd77::%x/128 dev lo nodad", i+1))
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// needNamespace skips a test where the namespace could not be made; CI has one.
func needNamespace(t *testing.T) {
	t.Helper()
	if os.Getenv(envNamespace) != "" {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("a network namespace is needed, which takes Linux and root")
	}
	t.Skip("needs a network namespace, which takes Linux and root")
}

// need skips a test where a program is missing; CI has it.
func need(t *testing.T, program string) string {
	t.Helper()
	needNamespace(t)
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is needed: run .ci/install", program)
	}
	t.Skipf("%s is needed: run .ci/install", program)
	return ""
}

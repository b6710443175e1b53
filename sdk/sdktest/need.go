package sdktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Absent skips a test for want of something; in CI (CI=true) it fails, where
// nothing may be missing.
func Absent(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Program is the path of a program; the test is Absent without it.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // is not in everybody's PATH
		if _, err := os.Stat(path); err != nil {
			Absent(t, name+" is not installed")
		}
	}
	return path
}

// Tool runs a program that is there to check by, such as tshark, and returns what
// it prints; a test without it is Absent.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Program(t, name), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.String())
	}
	return string(out)
}

// Fixtures returns a folder of captures that are not part of the repository: below
// the directory that FASTNETMON_FIXTURES names, or below shared/fixtures beside the
// module. A test without it is Absent.
func Fixtures(t testing.TB, folder string) string {
	t.Helper()
	dir := os.Getenv("FASTNETMON_FIXTURES")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; root != filepath.Dir(root); root = filepath.Dir(root) {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
		}
		dir = filepath.Join(root, "..", "shared", "fixtures")
	}
	dir = filepath.Join(dir, folder)
	if _, err := os.Stat(dir); err != nil { //nolint:gosec // whoever runs the test names it
		Absent(t, "no fixtures: "+err.Error()+"; set FASTNETMON_FIXTURES")
	}
	return dir
}

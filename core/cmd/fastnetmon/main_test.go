package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// The tests of this package run the real program with its real plugins, built
// once for all of them.
var (
	repository string // root of the checkout
	program    string // bin/fastnetmon, plugins beside it
)

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	var err error
	if repository, err = filepath.Abs("../../.."); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "fastnetmon-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "fastnetmon")
	sources := []string{"core/cmd/fastnetmon"}
	for _, pattern := range []string{"plugins/*/*/main.go", "examples/plugins/*/main.go"} {
		mains, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			return 0, err
		}
		for _, main := range mains {
			rel, _ := filepath.Rel(repository, filepath.Dir(main))
			sources = append(sources, rel)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		return 0, err
	}
	// One call for programs that are built alike and lie beside each other: what
	// they share is looked at once, and they are linked side by side.
	type kind struct{ folder, tag string }
	groups := map[kind][]string{}
	for _, source := range sources {
		tag, there, err := neededTag(filepath.Join(repository, source))
		if err != nil {
			return 0, err
		}
		if there {
			k := kind{filepath.Dir(source), tag}
			groups[k] = append(groups[k], source)
		}
	}
	for k, group := range groups {
		if err := buildPrograms(filepath.Join(dir, "built", k.folder+k.tag), k.tag, group); err != nil {
			return 0, err
		}
		for _, source := range group {
			target := program
			if source != sources[0] {
				target = filepath.Join(dir, "plugins", pluginFile(source))
			}
			if err := os.Rename(filepath.Join(dir, "built", k.folder+k.tag, filepath.Base(source)), target); err != nil {
				return 0, err
			}
		}
	}
	return m.Run(), nil
}

// buildPrograms builds programs into a folder, without what only debuggers read:
// linking takes half the time so.
func buildPrograms(into, tag string, sources []string) error {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-tags", tag, "-ldflags", "-s -w", "-o", into+string(filepath.Separator))
	for _, source := range sources {
		build.Args = append(build.Args, "./"+source)
	}
	build.Dir = repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if tag != "" {
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(sources, " "), err, out)
	}
	return nil
}

// neededTag is the build tag without which a program is not built, and whether
// its library is there. In CI it has to be, unless cgo is switched off as on 32 bits.
func neededTag(dir string) (tag string, there bool, err error) {
	main, err := os.ReadFile(filepath.Join(dir, "main.go"))
	first, _, _ := strings.Cut(string(main), "\n")
	tag, tagged := strings.CutPrefix(first, "//go:build ")
	if !tagged || err != nil {
		return "", true, err
	}
	if os.Getenv("CGO_ENABLED") == "0" {
		return "", false, nil
	}
	library := map[string]string{"ndpi": "libndpi"}[tag]
	if err := exec.Command("pkg-config", "--exists", library).Run(); err != nil {
		if os.Getenv("CI") == "true" {
			return "", false, fmt.Errorf("%s needs %s: %w", dir, library, err)
		}
		return "", false, nil
	}
	return tag, true, nil
}

// pluginFile names an executable: plugins/action/script becomes action-script,
// examples/plugins/action-hello stays action-hello.
func pluginFile(dir string) string {
	if strings.HasPrefix(dir, "examples") {
		return filepath.Base(dir)
	}
	return filepath.Base(filepath.Dir(dir)) + "-" + filepath.Base(dir)
}

type result struct {
	stdout, stderr string
	code           int
}

// run runs the program in the repository's root, bounded by a minute.
func run(t testing.TB, args ...string) result {
	t.Helper()
	return runIn(t, repository, args...)
}

func runIn(t testing.TB, dir string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatalf("fastnetmon %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		t.Fatalf("fastnetmon %s did not end within a minute\n%s", strings.Join(args, " "), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// mustRun runs the program and demands exit status 0.
func mustRun(t testing.TB, args ...string) result {
	t.Helper()
	r := run(t, args...)
	if r.code != 0 {
		t.Fatalf("fastnetmon %s: exit status %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r
}

// write puts text into a new file of the test's own folder.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fixtures returns the folder of foreign captures. In CI a missing one fails.
func fixtures(t testing.TB) string {
	t.Helper()
	return sdktest.Fixtures(t, "")
}

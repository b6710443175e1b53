package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmesPluginCompiles builds the hello-world of the README and has it
// describe itself.
func TestReadmesPluginCompiles(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if lines := strings.Count(code, "\n"); lines > 40 {
		t.Errorf("the hello-world has %d lines, at most 40 are promised", lines)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil { // inside the module, so that imports resolve
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("testdata", "readme")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove("testdata") // if nothing else is in it
	}()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "action-hello")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "describe").Output()
	if err != nil || !strings.Contains(string(out), `"name": "hello"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

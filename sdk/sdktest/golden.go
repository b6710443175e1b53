package sdktest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Golden compares what a test got with what a file says; with update, which is
// the value of the test's own flag, it writes the file first.
func Golden(t testing.TB, path, got string, update bool) {
	t.Helper()
	if want := goldenFile(t, path, got, update); got != want {
		t.Errorf("%s differs; run the test with -update and look at the difference.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// Corpus compares the committed inputs of a fuzz target that takes one []byte,
// in testdata/fuzz, with those that a test makes, by name; with update it writes
// them first. Where the bytes may differ from run to run, same says whether the
// input of a file will do; nil means that it has to be equal.
func Corpus(t testing.TB, target string, inputs map[string][]byte, update bool, same func(name string) bool) {
	t.Helper()
	for name, data := range inputs {
		path := filepath.Join("testdata", "fuzz", target, name)
		text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", data)
		if got := goldenFile(t, path, text, update); got != text && (same == nil || !same(name)) {
			t.Errorf("%s is out of date: run go test -update", path)
		}
	}
}

func goldenFile(t testing.TB, path, got string, update bool) (want string) {
	t.Helper()
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"broken": "10.0.0.0/8\n10.0.0.0/40\n", "empty": "# nothing\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct {
		config, path string
		say          []string
		warning      bool
	}{
		{config: ``, say: []string{"No prefixes"}},
		{config: `prefixes = ["10.0.0.0/8", "10.0.0.0/40"]`, path: "prefixes[1]", say: []string{`"10.0.0.0/40"`, "198.51.100.0/24"}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nexcept = [\"no\"]", path: "except[0]", say: []string{`"no"`}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nmatch = \"src\"", path: "match", say: []string{`"source", "destination" or "either"`}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nthen = \"pass\"", path: "then", say: []string{`"drop", "keep" or "mark"`}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nthen = \"mark\"", path: "then", say: []string{"No class"}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nclass = 3", path: "class", say: []string{"Class without effect"}},
		{config: "prefixes = [\"10.0.0.0/8\"]\nthen = \"mark\"\nclass = 64", path: "class", say: []string{"0 to 63"}},
		{config: `files = ["none"]`, path: "files[0]", say: []string{"none: no such file"}},
		{config: `files = ["empty", "broken"]`, path: "files[1]", say: []string{"broken: line 2", "10.0.0.0/40"}},
		{config: `files = ["empty"]`, path: "files", say: []string{"Empty list"}, warning: true},
		{config: "files = [\"empty\"]\nthen = \"keep\"", path: "files", say: []string{"all traffic would be dropped"}},
	} {
		ds := sdktest.New(t, plugin(), c.config).Validate()
		if len(ds) != 1 || ds.HasErrors() == c.warning || ds[0].Path.String() != c.path {
			t.Errorf("%s\n%v", c.config, ds)
			continue
		}
		for _, want := range c.say {
			if !strings.Contains(ds[0].Error(), want) {
				t.Errorf("%s\n%q lacks %q", c.config, ds[0].Error(), want)
			}
		}
	}
}

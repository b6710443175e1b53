package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var (
	hclBlock   = regexp.MustCompile("(?ms)^```hcl\n(.*?)^```")
	pluginHead = regexp.MustCompile(`(?m)^(capture|filter|action|export) "([\w-]+)" "([\w-]+)"`)
	heading    = regexp.MustCompile(`(?m)^(network|hostgroup|pipeline) "`)
)

// Every configuration that the documentation shows passes check, where it would
// lie in a checkout. One that shows only plugin blocks is given the rest.
func TestDocumentedConfigurations(t *testing.T) {
	blocks := documentedConfigurations(t)
	if len(blocks) < 6 {
		t.Fatalf("found %d configurations in the documentation: the search is broken", len(blocks))
	}
	checkout := t.TempDir()
	if err := os.CopyFS(filepath.Join(checkout, "examples"), os.DirFS(filepath.Join(repository, "examples"))); err != nil {
		t.Fatal(err)
	}
	for _, capture := range []string{"traffic.pcap", "examples/traffic.pcap"} {
		mustRun(t, "traffic", "--out", filepath.Join(checkout, capture), "--duration", "100ms")
	}
	for i, name := range slices.Sorted(maps.Keys(blocks)) {
		t.Run(name, func(t *testing.T) {
			if source := filepath.Dir(name); strings.HasPrefix(name, "plugins/") && leftOut(source) {
				sdktest.Absent(t, "this plugin's library is missing")
			}
			dir := checkout
			if strings.HasPrefix(name, "examples") && strings.HasSuffix(name, ".hcl") {
				dir = filepath.Join(checkout, "examples")
			}
			path := filepath.Join(dir, fmt.Sprintf("documented-%d.hcl", i))
			if err := os.WriteFile(path, []byte(completed(blocks[name])), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := run(t, "check", path); r.code != 0 {
				t.Errorf("%s\n%s", blocks[name], r.stderr)
			}
		})
	}
}

// leftOut tells whether a plugin was not built, for lack of its library.
func leftOut(source string) bool {
	_, there, err := neededTag(filepath.Join(repository, source))
	return err == nil && !there
}

func documentedConfigurations(t *testing.T) map[string]string {
	t.Helper()
	blocks := map[string]string{}
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".cache", "bin", "testdata", "demo":
				return filepath.SkipDir
			}
			return nil
		}
		rel, _ := filepath.Rel(repository, path)
		switch filepath.Ext(path) {
		case ".md":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, m := range hclBlock.FindAllStringSubmatch(string(text), -1) {
				blocks[fmt.Sprintf("%s#%d", rel, i+1)] = m[1]
			}
		case ".hcl":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			blocks[rel] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// completed adds what a fragment leaves out.
func completed(text string) string {
	has := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		has[m[1]] = true
	}
	if !has["network"] {
		text += "\nnetwork \"added\" {\n  prefixes = [\"192.0.2.0/24\"]\n}\n"
		if !has["hostgroup"] {
			text += "\nhostgroup \"added\" {\n  networks = [network.added]\n  threshold \"added\" {\n    pps = 1000\n  }\n}\n"
		}
	}
	if has["pipeline"] {
		return text
	}
	named := map[string][]string{}
	for _, m := range pluginHead.FindAllStringSubmatch(text, -1) {
		named[m[1]] = append(named[m[1]], strings.Join(m[1:], "."))
	}
	if named["capture"] == nil {
		text += "\ncapture \"hello\" \"added\" {}\n"
		return text
	}
	text += "\npipeline \"added\" {\n"
	for _, kind := range []string{"capture", "filter", "action", "export"} {
		if named[kind] != nil {
			text += fmt.Sprintf("  %ss = [%s]\n", kind, strings.Join(named[kind], ", "))
		}
	}
	return text + "}\n"
}

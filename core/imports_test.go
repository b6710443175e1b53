// Package core_test holds the walls of the house: which package may import
// which.
package core_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fastnetmon-go/fastnetmon/"

// sdkMayImport is all that plugin authors inherit from us.
var sdkMayImport = []string{
	"github.com/gaissmai/bart",
	"github.com/hashicorp/go-hclog",
	"github.com/hashicorp/go-plugin",
	"github.com/hashicorp/hcl/v2",
	"github.com/zclconf/go-cty",
	"golang.org/x/sys",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
}

// coreLayers orders the rooms of core/internal: a room may import rooms of
// a smaller number only. config and plugin are leaves that know no other room.
var coreLayers = map[string]int{
	"config": 0, "corpus": 0, "plugin": 0, "service": 0, "store": 0, "baseline": 0,
	"engine":   1,
	"detect":   2,
	"evidence": 3, "mitigate": 3,
	"pipeline": 4,
	"api":      5,
}

type goFile struct {
	path    string // from the repository's root, with slashes
	test    bool
	imports []string
}

func TestImportsRunOneWay(t *testing.T) {
	files := repositoryFiles(t)
	if len(files) < 30 {
		t.Fatalf("found %d Go files: the walk is broken", len(files))
	}
	for _, f := range files {
		for _, imported := range f.imports {
			if why := forbidden(f, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

func forbidden(f goFile, imported string) string {
	local, ours := strings.CutPrefix(imported, module)
	switch room, _, _ := strings.Cut(f.path, "/"); room {
	case "sdk":
		if ours && !strings.HasPrefix(local+"/", "sdk/") {
			return "the SDK imports nothing of the project but itself"
		}
		if !ours && !f.test && !standard(imported) && !listed(imported) {
			return "not on the list of what plugin authors inherit"
		}
	case "plugins", "examples":
		if ours && (!strings.HasPrefix(local+"/", "sdk/") || strings.HasPrefix(local+"/", "sdk/host/") && !f.test) &&
			!strings.HasPrefix(local+"/", filepath.ToSlash(filepath.Dir(f.path))+"/") {
			return "plugins use only what the SDK gives every author"
		}
	case "core":
		if ours && strings.HasPrefix(local, "plugins/") {
			return "the core knows kinds of plugin, not plugins"
		}
		return coreOrder(f.path, local)
	}
	return ""
}

func coreOrder(path, local string) string {
	from, ok := coreRoom(path)
	to, ours := coreRoom(local + "/")
	if !ok || !ours || from == to {
		return ""
	}
	a, known := coreLayers[from]
	b, knownTo := coreLayers[to]
	if !known || !knownTo {
		return "a room of core/internal is missing from coreLayers"
	}
	if a <= b {
		return "core runs cmd → api, pipeline → mitigate, evidence → detect → engine"
	}
	return ""
}

func coreRoom(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "core/internal/")
	if !ok {
		return "", false
	}
	room, _, _ := strings.Cut(rest, "/")
	return room, true
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func listed(path string) bool {
	for _, p := range sdkMayImport {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

func repositoryFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	for _, top := range []string{"core", "sdk", "plugins", "examples"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel("..", path)
			f := goFile{path: filepath.ToSlash(rel), test: strings.HasSuffix(path, "_test.go")}
			for _, spec := range parsed.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				f.imports = append(f.imports, name)
			}
			files = append(files, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

package pipeline

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// withLuaJIT names the build of filter "lua" that has LuaJIT, too.
const withLuaJIT = "lua luajit"

// luaFilter is the fullest build of filter "lua" that can be made here. In CI
// LuaJIT has to be there, unless cgo is switched off as on 32 bits.
func luaFilter(tb testing.TB) string {
	tb.Helper()
	switch {
	case os.Getenv("CGO_ENABLED") == "0":
		return "lua"
	case exec.Command("pkg-config", "--exists", "luajit").Run() == nil:
		return withLuaJIT
	case os.Getenv("CI") == "true":
		sdktest.Absent(tb, "pkg-config finds no luajit")
	}
	return "lua"
}

// buildFilters builds filters of plugins/filter, each a name and the tags behind
// it, and returns the programs by name.
func buildFilters(tb testing.TB, names ...string) map[string]string {
	tb.Helper()
	dir := tb.TempDir()
	programs := map[string]string{}
	byTag := map[string][]string{}
	for _, n := range names {
		name, tag, _ := strings.Cut(n, " ")
		programs[name] = filepath.Join(dir, name)
		byTag[tag] = append(byTag[tag], "./plugins/filter/"+name)
	}
	for tag, sources := range byTag {
		build := exec.Command("go", append([]string{"build", "-tags", tag, "-ldflags", "-s -w", "-o", dir + "/"}, sources...)...)
		build.Dir = "../../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if tag != "" {
			build.Env = append(os.Environ(), "CGO_ENABLED=1")
		}
		if text, err := build.CombinedOutput(); err != nil {
			tb.Fatalf("%s: %v\n%s", sources, err, text)
		}
	}
	return programs
}

// realFilter is a filter block of a program that buildFilters made.
func realFilter(tb testing.TB, programs map[string]string, name, body string, process config.Process) *prepared {
	tb.Helper()
	about, err := plugin.Describe(tb.Context(), programs[name])
	if err != nil {
		tb.Fatal(err)
	}
	file, diags := hclparse.NewParser().ParseHCL([]byte(body), "filter.hcl")
	if diags.HasErrors() {
		tb.Fatal(diags)
	}
	value, diags := hcldec.Decode(file.Body, about.Schema.DecoderSpec(), nil)
	if diags.HasErrors() {
		tb.Fatal(diags)
	}
	return &prepared{
		cfg: &config.Config{}, about: about,
		block: &config.Plugin{Kind: host.KindFilter, Name: name, Instance: name, Value: value, Process: process},
		found: plugin.Found{Kind: host.KindFilter, Name: name, Path: programs[name]},
	}
}

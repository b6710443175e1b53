package config

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostile are sources that are small and would be expensive, or end the
// process, without the guards.
func hostile() map[string]string {
	lines := func(n int, format func(i int) string) string {
		var sb strings.Builder
		for i := range n {
			sb.WriteString(format(i))
		}
		return sb.String()
	}
	chain := "locals {\n  l0 = \"0123456789abcdef\"\n" + lines(60, func(i int) string { return fmt.Sprintf("  l%d = [local.l%d, local.l%d]\n", i+1, i, i) })
	squares := "locals {\n  l0 = 1e300\n" + lines(59, func(i int) string { return fmt.Sprintf("  l%d = local.l%d * local.l%d\n", i+1, i, i) })
	long := "locals {\n" + lines(20000, func(i int) string { return fmt.Sprintf("  l%d = local.l%d\n", i, i+1) })
	family := "hostgroup \"g\" {\n" + lines(5000, func(i int) string { return fmt.Sprintf("threshold \"t%d\" {\npps = 1\n}\n", i) }) + "}\n" +
		lines(5000, func(i int) string { return fmt.Sprintf("hostgroup \"g%d\" {\nbase = hostgroup.g\n}\n", i) })
	return map[string]string{
		"brackets":    "a = " + strings.Repeat("[", 60000),
		"braces":      strings.Repeat("a {\n", 60000),
		"parentheses": "a = " + strings.Repeat("(", 60000),
		"not":         "a = " + strings.Repeat("!", 100000) + "true",
		"minus":       "a = " + strings.Repeat("-", 100000) + "1",
		"sum":         "a = 1" + strings.Repeat("+1", 60000),
		"choice":      "a = " + strings.Repeat("true ? 1 : ", 30000) + "1",
		"index":       "a = local.x" + strings.Repeat("[0]", 60000),
		"splat":       "a = local.x" + strings.Repeat("[*]", 60000),
		"templates":   "a = " + strings.Repeat("\"${", 60000),
		"directives":  "a = \"" + strings.Repeat("%{if true}", 30000) + "\"",
		"heredocs":    "a = " + strings.Repeat("<<A\n${", 60000),
		"calls":       "a = " + strings.Repeat("env(", 60000),
		"doubling":    chain + "}\n",
		"squares":     squares + "  x = \"${local.l59}\"\n}\n",
		"long chain":  long + "  l20000 = 1\n}\n",
		"loops":       "locals {\n  a = [for x in [for y in [1] : y] : x]\n}\n",
		"exponent":    "a = \"${1e999999999}\"",
		"thresholds":  family,
		"unknown":     strings.Repeat("x { }\n", 60000),
		"undeclared":  "hostgroup \"g\" {\n networks = [" + strings.Repeat("network.aaaaaaaaaaaaaaaaaaaaaaa,\n", 30000) + "]\n}\n",
		"too large":   strings.Repeat("# comment\n", 200000),
		"zero byte":   "a = \"\x00\"",
	}
}

// TestHostile: each such source ends soon, and in an error but for the long
// chain of locals, which is merely long.
func TestHostile(t *testing.T) {
	for name, src := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := processorTime(t)
			c, diags := LoadBytes("x.hcl", []byte(src))
			if diags.HasErrors() != (name != "long chain") {
				t.Errorf("%d diagnostics", len(diags))
			}
			if len(diags) > maxDiagnostics+1 {
				t.Errorf("%d diagnostics", len(diags))
			}
			if err := Render(&bytes.Buffer{}, diags, c.Files, true, 80); err != nil {
				t.Error(err)
			}
			// Generous: the race detector is slow.
			if d := processorTime(t) - start; d > time.Minute {
				t.Errorf("took %s", d)
			}
		})
	}
}

// processorTime is what this process has used: on a busy machine the clock tells
// nothing.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// checkDiagnostics holds what must hold for every source.
func checkDiagnostics(t *testing.T, src []byte) {
	t.Helper()
	start := processorTime(t)
	c, diags := LoadBytes("x.hcl", src, fixed)
	if d := processorTime(t) - start; d > time.Minute {
		t.Errorf("%d bytes took %s", len(src), d)
	}
	for _, d := range diags {
		if d.Summary == "" || d.Detail == "" {
			t.Errorf("a diagnostic without text: %+v", d)
		}
		if d.Summary == "Too many faults" {
			continue
		}
		if d.Subject == nil || c.Files[d.Subject.Filename] == nil || d.Subject.Start.Line < 1 || d.Subject.Start.Byte > len(c.Files[d.Subject.Filename].Bytes) {
			t.Errorf("a diagnostic without a place: %+v", d)
		}
	}
	if err := Render(&bytes.Buffer{}, diags, c.Files, false, 80); err != nil {
		t.Error(err)
	}
	if diags.HasErrors() {
		return
	}
	if c.Daemon.Mode == "" || len(c.Revision) != 16 {
		t.Errorf("not complete: %+v", c)
	}
	for _, g := range c.Groups {
		if g.Average <= 0 || g.Quiet <= 0 || g.V6Host == 0 {
			t.Errorf("not complete: %+v", g)
		}
		for _, th := range g.Thresholds {
			if !(th.PPS > 0 || th.BPS > 0 || th.FPS > 0) || th.Counter == "" {
				t.Errorf("not complete: %+v", th)
			}
		}
	}
	for _, list := range [][]*Plugin{c.Captures, c.Filters, c.Actions, c.Exports} {
		for _, p := range list {
			_, _ = c.Decode(p, testSchema(p.Name))
			_ = c.PluginDiagnostics(p, complaints())
		}
	}
}

// TestMutations: whatever one character of the example is changed to, the
// result is either right or complained about at a place.
func TestMutations(t *testing.T) {
	src, err := os.ReadFile("../../../fastnetmon.hcl")
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	chars := []byte("{}[]()\"'=,.:#$%&*-+!?<>/\\\n\t 0aZ_\x00\x80\xff")
	for range 800 {
		at := rnd.IntN(len(src))
		mutated := append([]byte(nil), src[:at]...)
		switch rnd.IntN(3) {
		case 0: // left out
			mutated = append(mutated, src[at+1:]...)
		case 1: // replaced
			mutated = append(append(mutated, chars[rnd.IntN(len(chars))]), src[at+1:]...)
		default: // put in
			mutated = append(append(mutated, chars[rnd.IntN(len(chars))]), src[at:]...)
		}
		checkDiagnostics(t, mutated)
		if t.Failed() {
			t.Fatalf("at byte %d:\n%s", at, mutated[max(0, at-40):min(len(mutated), at+40)])
		}
	}
}

// FuzzLoad: no source crashes the loader, and each fault has a place.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/mistakes/*.hcl", "testdata/good/*.hcl", "../../../fastnetmon.hcl"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	for _, src := range hostile() {
		f.Add([]byte(src[:min(len(src), 4096)]))
	}
	f.Fuzz(func(t *testing.T, src []byte) { checkDiagnostics(t, src) })
}

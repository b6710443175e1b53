package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence/geotest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const liarConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 200
    actions   = [action.liar.judge, action.script.mail]
  }
}

evidence {
  geoip = ["%[2]s"]
}

capture "liar" "router" {
  target = "203.0.113.7"
}

action "liar" "judge" {}

action "script" "mail" {
  role    = "notify"
  command = ["%[1]s/keep.sh"]
}

export "prometheus" "metrics" {
  listen = "127.0.0.1:%[3]d"
}

pipeline "main" {
  captures = [capture.liar.router]
  exports  = [export.prometheus.metrics]
}
`

// Names that come from outside, of a device, of an AS, of what a plugin has
// found, reach every form in which an attack is told, and harm none.
func TestNamesFromOutsideHarmNobody(t *testing.T) {
	dir := t.TempDir()
	buildLiar(t)
	var as geotest.Database
	as.Put(netip.MustParsePrefix("198.51.100.0/24"), geotest.Object(
		geotest.Text("autonomous_system_number"), geotest.Number(64500),
		geotest.Text("autonomous_system_organization"), geotest.Text("=harm\r\n\x1b[2J\u202e<script>harm</script>\",\"harm\xff")))
	keep := fmt.Sprintf("#!/bin/sh\ncat > %[1]s/$$.part && mv %[1]s/$$.part %[1]s/$$.told\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "keep.sh"), []byte(keep), 0o700); err != nil {
		t.Fatal(err)
	}
	port := freeUDP(t)
	config := write(t, "liar.hcl", fmt.Sprintf(liarConfig, dir, as.Write(t, "as.mmdb"), port))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack goes on")

	for _, args := range [][]string{{"attacks"}, {"events"}, {"exporters"}, {"exporters", "--wide"}, {"plugins"}, {"status"}, {"attacks", "summary"}} {
		readable(t, strings.Join(args, " "), mustRun(t, append(args, "--config", config)...).stdout)
		readable(t, strings.Join(args, " ")+" --json", mustRun(t, append(args, "--config", config, "--json")...).stdout)
	}
	page := past(t, config, "--since", "1h")
	if len(page) != 1 || len(page[0].Event.Label) > 64 || !regexp.MustCompile(`^[0-9a-z_-]+$`).MatchString(page[0].Event.Label) {
		t.Fatalf("attacks: %+v", page)
	}
	shown := mustRun(t, "attacks", "show", page[0].Event.ID, "--config", config).stdout
	readable(t, "attacks show", shown)
	for _, want := range []string{"AS64500 =harm", "in 7 out 8", "finding "} {
		if !strings.Contains(shown, want) {
			t.Errorf("shown without %q:\n%s", want, shown)
		}
	}
	checkHarmlessExports(t, config)
	checkHarmlessFiles(t, dir)
	readable(t, "metrics", metrics(t, port))
	readable(t, "the log", l.stderr.String())
	l.stop(t)
}

// metrics is what Prometheus would read.
func metrics(t *testing.T, port int) string {
	t.Helper()
	var text []byte
	sdktest.Until(t, "metrics of the attack", func() error {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if text, err = io.ReadAll(r.Body); err == nil && !strings.Contains(string(text), "liar") {
			err = errors.New("the capture is not in them")
		}
		return err
	})
	return string(text)
}

// buildLiar puts a capture and an action that lie where plugins are looked for.
func buildLiar(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "capture-liar"), "./testdata/liar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Link(filepath.Join(dir, "capture-liar"), filepath.Join(dir, "action-liar")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FASTNETMON_PLUGIN_DIR", dir)
}

// readable wants lines of text that no terminal takes for an order.
func readable(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8:\n%q", what, text)
	}
	for i, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029') {
			t.Errorf("%s has %q:\n%q", what, r, text[max(0, i-100):min(len(text), i+100)])
			return
		}
	}
}

// checkHarmlessExports reads the history as programs do.
func checkHarmlessExports(t *testing.T, config string) {
	t.Helper()
	text := mustRun(t, "attacks", "export", "--config", config).stdout
	readable(t, "CSV", text)
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // which wants as many cells in each
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows of CSV: %v\n%s", len(rows), err, text)
	}
	for i, cell := range rows[1] {
		if cell != "" && strings.ContainsAny(cell[:1], "=+-@|%") || strings.Contains(cell, "\n") {
			t.Errorf("%s: %q", rows[0][i], cell)
		}
	}
	text = mustRun(t, "attacks", "export", "--format", "json", "--config", config).stdout
	readable(t, "JSON", text)
	if !json.Valid([]byte(text)) || strings.Count(text, "\n") != 1 {
		t.Errorf("not one object on one line:\n%s", text)
	}
}

// checkHarmlessFiles looks at what was written, and at what a script was told.
func checkHarmlessFiles(t *testing.T, dir string) {
	t.Helper()
	var files []string
	for deadline := time.Now().Add(30 * time.Second); len(files) < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the script was told %q", files)
		}
		files, _ = filepath.Glob(filepath.Join(dir, "*.told")) // the pattern is sound
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !regexp.MustCompile(`^[0-9A-Za-z._-]+$`).MatchString(d.Name()) {
			t.Errorf("a file is called %q", d.Name())
		}
		if ext := filepath.Ext(path); ext == ".told" || ext == ".txt" {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			readable(t, path, string(content))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

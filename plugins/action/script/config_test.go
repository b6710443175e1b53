package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	plain := filepath.Join(dir, "plain")
	for path, mode := range map[string]os.FileMode{program: 0o755, plain: 0o644} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	good := func() config {
		return config{Role: roleMitigate, Command: []string{program, "x"}, Format: formatJSON, Timeout: time.Minute, MaxConcurrent: 1}
	}
	if err := newScript(good(), nil, "").Validate(t.Context()); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(*config)
		path   string
		text   string
	}{
		{"role", func(c *config) { c.Role = "watch" }, "role", `"mitigate"`},
		{"format", func(c *config) { c.Format = "xml" }, "format", `"text"`},
		{"timeout", func(c *config) { c.Timeout = -1 }, "timeout", "1s"},
		{"timeout long", func(c *config) { c.Timeout = 2 * time.Hour }, "timeout", "1h"},
		{"max_concurrent", func(c *config) { c.MaxConcurrent = 0 }, "max_concurrent", "1000"},
		{"no command", func(c *config) { c.Command = nil }, "command", "/usr/local/bin"},
		{"no path", func(c *config) { c.Command[0] = "notify.sh" }, "command[0]", "whole path"},
		{"absent", func(c *config) { c.Command[0] = dir + "/none" }, "command[0]", "no file"},
		{"below a file", func(c *config) { c.Command[0] = plain + "/none" }, "command[0]", "not a directory"},
		{"directory", func(c *config) { c.Command[0] = dir }, "command[0]", "not a file"},
		{"not executable", func(c *config) { c.Command[0] = plain }, "command[0]", "chmod +x"},
		{"argument", func(c *config) { c.Command[1] = "a\x00b" }, "command[1]", "NUL"},
		{"variable", func(c *config) { c.Environment = map[string]string{"FASTNETMON_X": ""} }, `environment["FASTNETMON_X"]`, "FASTNETMON_"},
	} {
		cfg := good()
		c.change(&cfg)
		err := newScript(cfg, nil, "").Validate(t.Context())
		var ds diag.Diagnostics
		if !errors.As(err, &ds) || len(ds) != 1 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Detail, c.text) {
			t.Errorf("%s: %v, want a complaint at %s", c.name, err, c.path)
		}
	}
}

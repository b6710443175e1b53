package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// configPlaces is where a configuration is looked for when none is named.
var configPlaces = []string{"fastnetmon.hcl", "/etc/fastnetmon/fastnetmon.hcl", "/etc/fastnetmon.hcl"}

// configPath returns the named configuration, or the first that exists.
func configPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, place := range configPlaces {
		if _, err := os.Stat(place); err == nil {
			return place, nil
		}
	}
	return "", fmt.Errorf("no configuration: looked for %s; write one, or name it with --config", strings.Join(configPlaces, ", "))
}

// failure marks an error as one of running, not of the command line.
func failure(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitFailure, err}
}

// showDiagnostics prints what is wrong with a configuration; it returns an
// error when any of it forbids to go on.
func showDiagnostics(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File) error {
	_ = config.Render(w, diags, files, isTerminal(w), 0)
	if diags.HasErrors() {
		return shown(exitConfig)
	}
	return nil
}

// isTerminal decides about colours: only for a terminal, and not against the
// user's word (NO_COLOR).
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// logFlags are the flags of every command that starts plugins.
type logFlags struct {
	level string
	json  bool
}

func (l *logFlags) add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&l.level, "log-level", level, "least level to log: trace, debug, info, warn, error or off")
	cmd.Flags().BoolVar(&l.json, "log-json", false, "log JSON, a line each")
}

// parse reads the level.
func (l *logFlags) parse() (hclog.Level, error) {
	level := hclog.LevelFromString(l.level)
	if level == hclog.NoLevel {
		return level, fmt.Errorf("--log-level %q: use trace, debug, info, warn, error or off", l.level)
	}
	return level, nil
}

func (l *logFlags) logger(w io.Writer) (hclog.Logger, error) {
	level, err := l.parse()
	if err != nil {
		return nil, err
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "fastnetmon", Level: level, Output: w, JSONFormat: l.json, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	}), nil
}

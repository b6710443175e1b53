package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func statusCommand() *cobra.Command {
	return clientCommand("status", "Show what the running daemon does and sees", askStatus,
		func(w io.Writer, s statusJSON) error {
			_, err := io.WriteString(w, statusText(&s))
			return err
		})
}

// statusJSON is what "status --json" prints.
type statusJSON struct {
	Version     string              `json:"version"`
	Revision    string              `json:"revision"`
	Mode        string              `json:"mode"`
	Started     time.Time           `json:"started"`
	Uptime      float64             `json:"uptime"` // seconds
	Captures    api.Count           `json:"captures"`
	Filters     api.Count           `json:"filters"`
	Actions     api.Count           `json:"actions"`
	Exports     api.Count           `json:"exports"`
	Hosts       uint64              `json:"hosts"`
	Deltas      float64             `json:"deltas_per_second"`
	Rates       []api.DirectionRate `json:"rates"`
	Attacks     int                 `json:"attacks"`
	LossRatio   float64             `json:"loss_ratio"`
	Memory      uint64              `json:"memory_bytes"`
	MemoryLimit uint64              `json:"memory_limit_bytes"`
	Suspended   string              `json:"suspended,omitempty"`
	Held        []string            `json:"held,omitempty"`
	Troubles    []string            `json:"troubles,omitempty"`
}

func askStatus(ctx context.Context, c *api.Client) (statusJSON, error) {
	s, err := c.Status(ctx)
	return statusJSON{
		Version: s.Version, Revision: s.Revision, Mode: s.Mode, Started: s.Started, Uptime: s.Uptime.Seconds(),
		Captures: s.Captures, Filters: s.Filters, Actions: s.Actions, Exports: s.Exports,
		Hosts: s.Hosts, Deltas: s.Deltas, Rates: s.Rates, Attacks: s.Attacks, LossRatio: s.LossRatio,
		Memory: s.Memory, MemoryLimit: s.MemoryLimit, Suspended: s.Suspended, Held: s.Held, Troubles: s.Troubles,
	}, err
}

func statusText(s *statusJSON) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("version", "%s", s.Version)
	line("revision", "%s, mode %s", s.Revision, s.Mode)
	line("running", "since %s UTC, for %s", moment(s.Started), time.Duration(s.Uptime*float64(time.Second)).Round(time.Second))
	for _, kind := range []struct {
		name  string
		count api.Count
	}{{"captures", s.Captures}, {"filters", s.Filters}, {"actions", s.Actions}, {"exports", s.Exports}} {
		line(kind.name, "%s", countText(kind.count))
	}
	for _, r := range s.Rates {
		line(r.Direction, "%s pps, %s bps", count(r.PPS), count(r.BPS))
	}
	line("hosts", "%d", s.Hosts)
	line("deltas", "%s per second", count(s.Deltas))
	line("attacks", "%d in progress", s.Attacks)
	if s.Suspended != "" {
		line("suspended", "attacks that it shows are told but not enforced: %s", s.Suspended)
	}
	for _, held := range s.Held {
		line("held", "%s", held)
	}
	for _, trouble := range s.Troubles {
		line("trouble", "%s", trouble)
	}
	line("loss", "%.3f %% of records in the last ten seconds", 100*s.LossRatio)
	line("memory", "%.1f MiB of %s", float64(s.Memory)/(1<<20), sdk.Size(s.MemoryLimit))
	return b.String()
}

func countText(c api.Count) string {
	out := fmt.Sprintf("%d running", c.Running)
	if c.NotRunning > 0 {
		out += fmt.Sprintf(", %d not running (see fastnetmon plugins)", c.NotRunning)
	}
	if c.Finished > 0 {
		out += fmt.Sprintf(", %d finished", c.Finished)
	}
	return out
}

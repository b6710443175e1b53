package main

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
)

func pluginsCommand() *cobra.Command {
	return clientCommand("plugins", "Show the daemon's plugins, their states and why",
		func(ctx context.Context, c *api.Client) ([]api.PluginStatus, error) { return c.Plugins(ctx) }, printPluginStates)
}

func printPluginStates(w io.Writer, plugins []api.PluginStatus) error {
	columns := []column{
		{"PLUGIN", false},
		{"STATE", false},
		{"SINCE", false},
		{"PID", true},
		{"LAUNCHES", true},
		{"FAILURES", true},
		{"VERSION", false},
		{"DELIVERED", true},
		{"FAILED", true},
		{"DROPPED", true},
		{"QUEUED", true},
		{"REASON", false},
	}
	var rows [][]string
	for _, p := range plugins {
		pid, events := "-", []string{"-", "-", "-", "-"}
		if p.PID != 0 {
			pid = strconv.Itoa(p.PID)
		}
		if p.Kind == "action" || p.Kind == "export" {
			for i, n := range []uint64{p.Delivered, p.Failed, p.Dropped, p.Queued} {
				events[i] = strconv.FormatUint(n, 10)
			}
		}
		reason := p.Message
		if p.LastFailure != "" && p.LastFailure != p.Message {
			reason = strings.TrimPrefix(reason+"; ", "; ") + "last failure " + moment(p.LastFailureAt) + ": " + p.LastFailure
		}
		if !p.Retry.IsZero() {
			reason = strings.TrimPrefix(reason+"; ", "; ") + "next launch " + p.Retry.UTC().Format("15:04:05")
		}
		name := p.Kind + "." + p.Name + "." + p.Instance
		if p.Pipeline != "" {
			name += " (pipeline " + p.Pipeline + ")"
		}
		row := []string{
			name, p.State, moment(p.Since), pid, strconv.Itoa(p.Launches), strconv.Itoa(p.Failures), orDefault(p.Version, "-"),
		}
		rows = append(rows, append(append(row, events...), reason))
	}
	if err := writeTable(w, columns, rows); err != nil {
		return err
	}
	return printFigures(w, plugins)
}

// printFigures prints what plugins say of themselves.
func printFigures(w io.Writer, plugins []api.PluginStatus) error {
	var rows [][]string
	for _, p := range plugins {
		for _, f := range p.Figures {
			rows = append(rows, []string{p.Kind + "." + p.Name + "." + p.Instance, f.Name, strconv.FormatFloat(f.Value, 'f', -1, 64)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return writeTable(w, []column{{"PLUGIN", false}, {"FIGURE", false}, {"VALUE", true}}, rows)
}

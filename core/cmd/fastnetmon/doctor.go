package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// Doctor implements api.Backend.
func (b backend) Doctor(ctx context.Context) ([]api.Check, error) {
	found, err := b.daemon.Doctor(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Check
	for _, c := range found {
		out = append(out, api.Check{Input: c.Input, Name: c.Name, State: c.State, Detail: c.Detail})
	}
	return out, nil
}

func doctorCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say why no traffic, or not the right one, is seen, and what to do",
		Long: `Doctor follows the data from the sockets to the limits and says what it finds, a line each: faults first, then warnings, each in the
order in which data passes. The exit status is 1 when there is a fault or no daemon answers, 3 when there are warnings only, and 0 when all is
well.

A fault keeps traffic from being seen, or much of it. A warning is what may be as it is meant, or shows attacks late or not in full: an
unknown sampling rate, a clock that is off, limits too low for the sampling rate, flows that are reported later than a hostgroup's average.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				checks, err := c.Doctor(ctx)
				if err != nil {
					return err
				}
				if flags.json {
					err = printJSON(cmd.OutOrStdout(), checks)
				} else {
					err = printChecks(cmd.OutOrStdout(), checks)
				}
				if err != nil {
					return failure(err)
				}
				return exitOf(checks)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// exitOf is the exit status that checks give.
func exitOf(checks []api.Check) error {
	code := 0
	for _, c := range checks {
		switch c.State {
		case exporter.StateFault:
			return shown(exitFailure)
		case exporter.StateWarn:
			code = exitWarning
		}
	}
	if code == 0 {
		return nil
	}
	return shown(code)
}

func printChecks(w io.Writer, checks []api.Check) error {
	columns := []column{{"STATE", false}, {"CHECK", false}, {"INPUT", false}, {"FOUND", false}}
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{c.State, c.Name, orDefault(c.Input, "-"), c.Detail})
	}
	return writeTable(w, columns, rows)
}

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
order in which data passes. The exit status is 0 when there is no fault (there may be warnings), 1 when there is one or no daemon answers.`,
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
				for _, c := range checks {
					if c.State == exporter.StateFault {
						return shown(exitFailure)
					}
				}
				return nil
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func printChecks(w io.Writer, checks []api.Check) error {
	columns := []column{{"STATE", false}, {"CHECK", false}, {"INPUT", false}, {"FOUND", false}}
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{c.State, c.Name, orDefault(c.Input, "-"), c.Detail})
	}
	return writeTable(w, columns, rows)
}

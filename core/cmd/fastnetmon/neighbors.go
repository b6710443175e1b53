package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

// neighborTexts are the columns that are no numbers.
var neighborTexts = []string{"neighbor", "state", "since", "cause", "families", "restart"}

func neighborsCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "neighbors",
		Short: "Show the BGP neighbors of actions, and how their sessions are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				tables, err := c.Tables(ctx, pipeline.TableNeighbors)
				if err != nil {
					return err
				}
				if flags.json {
					err = printJSON(cmd.OutOrStdout(), tableObjects(tables))
				} else {
					err = printTables(cmd.OutOrStdout(), tables, columnsOf(tables), neighborTexts, "no action that runs has neighbors\n")
				}
				if err != nil {
					return failure(err)
				}
				return tableFaults(tables)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

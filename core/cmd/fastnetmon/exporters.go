package main

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// narrow are the columns that people see unless they ask for all.
var narrow = []string{
	"exporter", "address", "site", "protocol", "domain", "records/s", "sampling", "sampling from", "visible pps",
	"templates", "lost", "unknown", "clock skew", "active timeout", "last seen", "notes",
}

func exportersCommand() *cobra.Command {
	var flags clientFlags
	var wide bool
	cmd := &cobra.Command{
		Use:   "exporters",
		Short: "Show the devices that send flows and samples, and how well they do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				tables, err := c.Tables(ctx, exporter.TableExporters)
				if err != nil {
					return err
				}
				if flags.json {
					err = printJSON(cmd.OutOrStdout(), tableObjects(tables))
				} else {
					err = printExporters(cmd.OutOrStdout(), tables, wide)
				}
				if err != nil {
					return failure(err)
				}
				return tableFaults(tables)
			})
		},
	}
	cmd.Flags().BoolVar(&wide, "wide", false, "show all columns")
	flags.add(cmd)
	return cmd
}

// agentsNeeded reports whether an sFlow agent has another name than its
// address: several behind one address look alike without it.
func agentsNeeded(tables []api.PluginTable) bool {
	for _, t := range tables {
		for _, cells := range cellsOf(&t, []string{"exporter", "agent"}) {
			if cells[1] != "" && cells[1] != cells[0] {
				return true
			}
		}
	}
	return false
}

// printExporters writes a line for each exporter.
func printExporters(w io.Writer, tables []api.PluginTable, wide bool) error {
	names := columnsOf(tables)
	if !wide {
		agents := agentsNeeded(tables)
		names = slices.DeleteFunc(names, func(c string) bool { return !slices.Contains(narrow, c) && (c != "agent" || !agents) })
	}
	return printTables(w, tables, names, exporter.TextColumns, "no exporter has sent anything; \"fastnetmon doctor\" may tell why\n")
}

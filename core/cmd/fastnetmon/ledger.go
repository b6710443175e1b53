package main

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func ledgerCommand() *cobra.Command {
	return clientCommand("ledger", "Show what became of all that each input received",
		func(ctx context.Context, c *api.Client) ([]sdk.LedgerRow, error) { return c.Ledger(ctx) }, printLedger)
}

// printLedger writes an account a line for each input: the columns right of
// RECEIVED add up to it.
func printLedger(w io.Writer, ledger []sdk.LedgerRow) error {
	causes := map[string]bool{}
	for _, row := range ledger {
		for cause, n := range row.Dropped {
			if n > 0 {
				causes[cause] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(causes))
	columns := []column{{"INPUT", false}, {"RECEIVED", true}, {"USED", true}, {"IN FLIGHT", true}}
	for _, cause := range names {
		columns = append(columns, column{"DROPPED: " + cause, true})
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	var rows [][]string
	for _, row := range ledger {
		cells := []string{row.Input, number(row.Received), number(row.Used), number(row.InFlight)}
		for _, cause := range names {
			cells = append(cells, number(row.Dropped[cause]))
		}
		rows = append(rows, cells)
	}
	return writeTable(w, columns, rows)
}

package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func totalsCommand() *cobra.Command {
	return clientCommand("totals", "Show the rates of all traffic by direction, family and counter",
		func(ctx context.Context, c *api.Client) ([]sdk.TotalRate, error) { return c.Totals(ctx) }, printTotals)
}

func printTotals(w io.Writer, totals []sdk.TotalRate) error {
	columns := []column{{"DIRECTION", false}, {"FAMILY", false}, {"COUNTER", false}, {"PPS", true}, {"BPS", true}, {"FPS", true}}
	var rows [][]string
	for _, t := range totals {
		for i, r := range t.Counters {
			if i > 0 && r.PPS == 0 && r.BPS == 0 {
				continue
			}
			flows := ""
			if i == 0 {
				flows = count(t.Flows)
			}
			rows = append(rows, []string{t.Direction, "ipv" + strconv.Itoa(t.Family), r.Counter, count(r.PPS), count(r.BPS), flows})
		}
	}
	return writeTable(w, columns, rows)
}

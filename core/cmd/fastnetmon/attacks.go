package main

import (
	"cmp"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func attacksCommand() *cobra.Command {
	return clientCommand("attacks", "Show the attacks in progress",
		func(ctx context.Context, c *api.Client) ([]sdk.Event, error) { return c.Attacks(ctx) }, printAttacks)
}

func printAttacks(w io.Writer, attacks []sdk.Event) error {
	columns := []column{
		{"TARGET", false},
		{"DIRECTION", false},
		{"STARTED", false},
		{"LABEL", false},
		{"PPS", true},
		{"BPS", true},
		{"PEAK PPS", true},
		{"THRESHOLD", false},
		{"HOSTGROUP", false},
		{"MODE", false},
		{"ID", false},
	}
	var rows [][]string
	for i := range attacks {
		a := &attacks[i]
		rates, now := a.Incoming, sdk.CounterRate{}
		if a.Direction == "outgoing" {
			rates = a.Outgoing
		}
		if len(rates) > 0 {
			now = rates[0]
		}
		rows = append(rows, []string{
			a.TargetName(), a.Direction, moment(a.Started), cmp.Or(a.Label, a.AttackType), count(now.PPS), count(now.BPS), count(a.PeakPPS),
			a.Threshold + ": " + a.Counter + " " + a.Unit + " above " + count(a.Limit), a.HostGroup, a.Mode, a.ID,
		})
	}
	return writeTable(w, columns, rows)
}

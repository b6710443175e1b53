package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func attacksCommand() *cobra.Command {
	var flags archiveFlags
	var q historyFlags
	format := ""
	cmd := &cobra.Command{
		Use:   "attacks",
		Short: "Show the attacks in progress, or those of the past",
		Long: `Attacks shows the attacks in progress with their rates now. With any of the flags that choose attacks it lists those of the history instead, the
newest first, a page at a time: what follows it is told at its end. A time is an age (24h, 7d) or a date (2026-03-01, 2026-03-01T12:30, in UTC, or
RFC 3339). --target finds the targets in a prefix and the wider ones that hold it. --json is --format json.

Where no daemon runs the history is read from its file; attacks that were open when it stopped are "interrupted".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case flags.json && format == "":
				format = formatJSON
			case format == "":
				format = formatTable
			}
			if err := oneOf("format", format, formatTable, formatJSON, formatCSV); err != nil {
				return err
			}
			if !q.changed(cmd) && flags.stateDir == "" && format != formatCSV {
				flags.json = format == formatJSON
				return askOpen(cmd, &flags.clientFlags)
			}
			query, err := q.query(time.Now())
			if err != nil {
				return err
			}
			return withArchive(cmd, &flags, func(ctx context.Context, a api.Archive) error {
				page, err := a.History(ctx, query)
				if err != nil {
					return err
				}
				return failure(printPage(cmd.OutOrStdout(), cmd.ErrOrStderr(), &page, format))
			})
		},
	}
	flags.add(cmd)
	q.add(cmd)
	cmd.Flags().IntVar(&q.limit, "limit", store.DefaultPage, fmt.Sprintf("attacks on a page, up to %d", store.MaxPage))
	cmd.Flags().StringVar(&q.after, "after", "", "the page that begins after this cursor")
	cmd.Flags().StringVar(&format, "format", "", "table, json or csv")
	cmd.AddCommand(attackShowCommand(), attackExportCommand(), attackPCAPCommand(), attackSummaryCommand())
	return cmd
}

// Forms of output.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatCSV   = "csv"
)

// oneOf tells what a flag may be.
func oneOf(flag, value string, of ...string) error {
	for _, v := range of {
		if v == value {
			return nil
		}
	}
	return &exitError{exitConfig, fmt.Errorf("--%s %q: use one of %s", flag, value, strings.Join(of, ", "))}
}

// historyFlags are the flags that choose attacks.
type historyFlags struct {
	since, until, target, label, group, threshold, state string
	minPeak                                              string
	limit                                                int
	after                                                string
}

// choosing are the names of historyFlags.
var choosing = []string{"since", "until", "target", "label", "group", "threshold", "state", "min-peak", "limit", "after"}

func (f *historyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.since, "since", "", "attacks that began then or later: an age or a date")
	cmd.Flags().StringVar(&f.until, "until", "", "attacks that began before then")
	cmd.Flags().StringVar(&f.target, "target", "", "prefix or address")
	cmd.Flags().StringVar(&f.label, "label", "", "label, as dns_reflection")
	cmd.Flags().StringVar(&f.group, "group", "", "hostgroup")
	cmd.Flags().StringVar(&f.threshold, "threshold", "", "a threshold, or tier, that was crossed")
	cmd.Flags().StringVar(&f.state, "state", "", strings.Join(store.StateNames, ", "))
	cmd.Flags().StringVar(&f.minPeak, "min-peak", "", "packets per second at its peak, as 100k")
}

// changed tells whether any of them was given.
func (f *historyFlags) changed(cmd *cobra.Command) bool {
	for _, name := range choosing {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed {
			return true
		}
	}
	return false
}

func (f *historyFlags) query(now time.Time) (q store.Query, err error) {
	q = store.Query{Label: f.label, Group: f.group, Threshold: f.threshold, Limit: f.limit, After: f.after}
	fail := func(flag string, err error) error { return &exitError{exitConfig, fmt.Errorf("--%s: %w", flag, err)} }
	if q.Since, err = whenOf(f.since, now); err != nil {
		return q, fail("since", err)
	}
	if q.Until, err = whenOf(f.until, now); err != nil {
		return q, fail("until", err)
	}
	if f.target != "" {
		if q.Target, err = api.ParsePrefix(f.target); err != nil {
			return q, fail("target", err)
		}
	}
	if f.state != "" {
		if err := oneOf("state", f.state, store.StateNames...); err != nil {
			return q, err
		}
		q.State = store.ParseState(f.state)
	}
	if f.minPeak != "" {
		var rate sdk.Rate
		if err := rate.UnmarshalText([]byte(f.minPeak)); err != nil {
			return q, fail("min-peak", err)
		}
		q.MinPeak = float64(rate)
	}
	if err := api.CheckHistory(&q); err != nil {
		return q, &exitError{exitConfig, err}
	}
	return q, nil
}

// whenOf reads an age or a date; "" is no time.
func whenOf(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	age, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, errors.New("write an age, as 24h or 7d, or a date, as 2026-03-01 or 2026-03-01T12:30")
	}
	return now.Add(-age).UTC(), nil
}

// askOpen shows the attacks in progress.
func askOpen(cmd *cobra.Command, flags *clientFlags) error {
	return askDaemon(cmd, flags, func(ctx context.Context, c *api.Client) error {
		attacks, err := c.Attacks(ctx)
		if err != nil {
			return err
		}
		if flags.json {
			return failure(printJSON(cmd.OutOrStdout(), attacks))
		}
		return failure(printAttacks(cmd.OutOrStdout(), attacks))
	})
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
			limitText(&a.Crossing), a.HostGroup, a.Mode, a.ID,
		})
	}
	return writeTable(w, columns, rows)
}

// limitText is a limit in a few words.
func limitText(c *sdk.Crossing) string {
	return c.Threshold + ": " + c.Counter + " " + c.Unit + " above " + count(c.Limit)
}

// printPage writes a page of the history, and says how to get the next one.
func printPage(w, notes io.Writer, p *store.Page, format string) error {
	if p.Damaged > 0 {
		fmt.Fprintf(notes, "%s of the history cannot be read, and left out\n", plural(p.Damaged, "attack"))
	}
	if format == formatJSON {
		return printJSON(w, pageJSON{Attacks: pastJSON(p.Attacks), Next: p.Next})
	}
	var err error
	if format == formatCSV {
		err = newCSV(w).page(p.Attacks)
	} else {
		err = printPast(w, p.Attacks)
	}
	if err == nil && p.Next != "" {
		_, err = fmt.Fprintf(notes, "there are more: --after %s\n", p.Next)
	}
	return err
}

func printPast(w io.Writer, attacks []store.Attack) error {
	columns := []column{
		{"TARGET", false},
		{"DIRECTION", false},
		{"STARTED", false},
		{"LASTED", true},
		{"STATE", false},
		{"LABEL", false},
		{"PEAK PPS", true},
		{"THRESHOLD", false},
		{"HOSTGROUP", false},
		{"ID", false},
	}
	var rows [][]string
	for i := range attacks {
		a := &attacks[i]
		e := &a.Event
		rows = append(rows, []string{
			e.TargetName(), e.Direction, moment(e.Started), lasted(a), a.State.String(), cmp.Or(e.Label, e.AttackType), count(e.PeakPPS),
			limitText(&e.Crossing), e.HostGroup, e.ID,
		})
	}
	return writeTable(w, columns, rows)
}

// lasted is for how long an attack went on.
func lasted(a *store.Attack) string {
	if a.Ended.IsZero() {
		return "-"
	}
	return a.Ended.Sub(a.Event.Started).Round(time.Second).String()
}

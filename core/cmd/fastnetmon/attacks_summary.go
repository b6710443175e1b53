package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

func attackSummaryCommand() *cobra.Command {
	var flags archiveFlags
	var since, until string
	cmd := &cobra.Command{
		Use:   "summary",
		Short: "Sum up the attacks of a week, beside the week before",
		Long: `Summary says how many attacks began in a period (the last seven days, unless --since says otherwise), on what, of which kind, which were the
longest and the largest, and what the period of the same length before it had.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := whenOf(since, now)
			if err != nil {
				return &exitError{exitConfig, fmt.Errorf("--since: %w", err)}
			}
			to, err := whenOf(until, now)
			if err != nil {
				return &exitError{exitConfig, fmt.Errorf("--until: %w", err)}
			}
			if from, to, err = api.Period(from, to, now); err != nil {
				return &exitError{exitConfig, err}
			}
			return withArchive(cmd, &flags, func(ctx context.Context, a api.Archive) error {
				s, err := a.HistorySummary(ctx, from, to)
				if err != nil {
					return err
				}
				if flags.json {
					return failure(printJSON(cmd.OutOrStdout(), summaryJSONOf(&s)))
				}
				return failure(printSummary(cmd.OutOrStdout(), &s))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "attacks that began then or later: an age or a date (default: seven days before --until)")
	cmd.Flags().StringVar(&until, "until", "", "attacks that began before then (default: now)")
	return cmd
}

// printSummary writes a summary for people.
func printSummary(w io.Writer, s *store.Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Attacks that began from %s to %s UTC, in brackets those of the %s before\n\n", moment(s.Since), moment(s.Until), days(s.Until.Sub(s.Since).Round(time.Second)))
	fmt.Fprintf(&b, "attacks      %d (%d)\n", s.Now.Attacks, s.Before.Attacks)
	more := ""
	if s.AtLeast {
		more = "more than "
	}
	fmt.Fprintf(&b, "targets      %s%d (%d)\n", more, s.Now.Targets, s.Before.Targets)
	fmt.Fprintf(&b, "together     %s (%s)\n", s.Now.Duration.Round(time.Second), s.Before.Duration.Round(time.Second))
	fmt.Fprintf(&b, "largest      %s pps (%s)\n", count(s.Now.PeakPPS), count(s.Before.PeakPPS))
	if s.Now.Open+s.Now.Interrupted > 0 {
		fmt.Fprintf(&b, "not over     %d open, %d interrupted\n", s.Now.Open, s.Now.Interrupted)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		list  []store.Tally
	}{{"LABEL", s.Labels}, {"HOSTGROUP", s.Groups}, {"TARGET", s.Targets}, {"DAY", s.Days}} {
		if err := printTallies(w, part.title, part.list); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		title string
		list  []store.Attack
	}{{"The longest:", s.Longest}, {"The largest:", s.Largest}} {
		if len(part.list) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", part.title); err != nil {
			return err
		}
		if err := printPast(w, part.list); err != nil {
			return err
		}
	}
	return nil
}

func printTallies(w io.Writer, title string, list []store.Tally) error {
	if len(list) == 0 {
		return nil
	}
	columns := []column{{title, false}, {"ATTACKS", true}, {"BEFORE", true}, {"TOGETHER", true}, {"LARGEST PPS", true}}
	if title == "DAY" { // the days before are not these
		columns[2].name = ""
	}
	var rows [][]string
	for _, t := range list {
		before := fmt.Sprint(t.Before)
		if title == "DAY" {
			before = ""
		}
		rows = append(rows, []string{cmp.Or(t.Name, "(none)"), fmt.Sprint(t.Attacks), before, t.Duration.Round(time.Second).String(), count(t.PeakPPS)})
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return writeTable(w, columns, rows)
}

// periodJSON is what "attacks summary --json" prints.
type periodJSON struct {
	Since   time.Time    `json:"since"`
	Until   time.Time    `json:"until"`
	Now     totalsJSON   `json:"now"`
	Before  totalsJSON   `json:"before"`
	Labels  []tallyJSON  `json:"labels"`
	Groups  []tallyJSON  `json:"hostgroups"`
	Targets []tallyJSON  `json:"targets"`
	Days    []tallyJSON  `json:"days"`
	Longest []attackJSON `json:"longest"`
	Largest []attackJSON `json:"largest"`
}

type totalsJSON struct {
	Attacks     int     `json:"attacks"`
	Open        int     `json:"open"`
	Interrupted int     `json:"interrupted"`
	Targets     int     `json:"targets"`
	Seconds     float64 `json:"seconds"`
	PeakPPS     float64 `json:"peak_pps"`
}

type tallyJSON struct {
	Name    string  `json:"name"`
	Attacks int     `json:"attacks"`
	Before  int     `json:"before"`
	Seconds float64 `json:"seconds"`
	PeakPPS float64 `json:"peak_pps"`
}

func summaryJSONOf(s *store.Summary) periodJSON {
	totals := func(t store.Totals) totalsJSON {
		return totalsJSON{t.Attacks, t.Open, t.Interrupted, t.Targets, t.Duration.Seconds(), t.PeakPPS}
	}
	tallies := func(list []store.Tally) []tallyJSON {
		out := make([]tallyJSON, len(list))
		for i, t := range list {
			out[i] = tallyJSON{t.Name, t.Attacks, t.Before, t.Duration.Seconds(), t.PeakPPS}
		}
		return out
	}
	return periodJSON{
		Since: s.Since, Until: s.Until, Now: totals(s.Now), Before: totals(s.Before),
		Labels: tallies(s.Labels), Groups: tallies(s.Groups), Targets: tallies(s.Targets), Days: tallies(s.Days),
		Longest: pastJSON(s.Longest), Largest: pastJSON(s.Largest),
	}
}

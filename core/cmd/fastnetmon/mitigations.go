package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Mitigations implements api.Backend.
func (b backend) Mitigations(_ context.Context, history int) ([]sdk.MitigationReport, error) {
	if history > 0 {
		return b.daemon.Mitigations().Past(history), nil
	}
	return b.daemon.Mitigations().Reports(), nil
}

// Audit implements api.Backend.
func (b backend) Audit(_ context.Context, most int) ([]mitigate.Audit, error) {
	return b.daemon.Mitigations().AuditLog(most), nil
}

// asked makes what is the asker's fault known as such.
func asked[T any](out T, err error) (T, error) {
	if errors.Is(err, pipeline.ErrUnknown) {
		err = fmt.Errorf("%w: %w", api.ErrBadQuery, err)
	}
	return out, err
}

// Ban implements api.Backend.
func (b backend) Ban(ctx context.Context, q api.BanQuery) ([]sdk.MitigationReport, error) {
	return asked(b.daemon.Ban(ctx, pipeline.BanQuery(q)))
}

// Unban implements api.Backend.
func (b backend) Unban(ctx context.Context, q api.UnbanQuery) ([]sdk.MitigationReport, error) {
	return asked(b.daemon.Unban(ctx, pipeline.UnbanQuery(q)))
}

// Decide implements api.Backend.
func (b backend) Decide(ctx context.Context, q api.DecideQuery) ([]sdk.MitigationReport, error) {
	return asked(b.daemon.Decide(ctx, q.ID, q.Who, q.Reason, q.Release))
}

// TestAction implements api.Backend.
func (b backend) TestAction(ctx context.Context, name string, target netip.Prefix) (api.ActionTest, error) {
	lines, failed, err := b.daemon.TestAction(ctx, name, target)
	return asked(api.ActionTest{Lines: lines, Failed: failed}, err)
}

func mitigationsCommand() *cobra.Command {
	var flags clientFlags
	var history, audit bool
	var most int
	cmd := &cobra.Command{
		Use:   "mitigations",
		Short: "Show what is done about attacks, and what was",
		Long: `Mitigations lists what the actions are to hold, with its state: requested, held (by a guard), sent, active, releasing or failed, and why.
--history lists what is over, newest first; --audit what people did, with who and why.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				if audit {
					list, err := c.Audit(ctx, most)
					return shownAs(cmd, &flags, list, err, printAudit)
				}
				n := 0
				if history {
					n = most
				}
				list, err := c.Mitigations(ctx, n)
				return shownAs(cmd, &flags, list, err, printMitigations)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&history, "history", false, "list what is over")
	cmd.Flags().BoolVar(&audit, "audit", false, "list what people did")
	cmd.Flags().IntVar(&most, "most", 100, "how many of them, 1 to 1000")
	cmd.MarkFlagsMutuallyExclusive("history", "audit")
	return cmd
}

// shownAs prints an answer, for people or as JSON.
func shownAs[T any](cmd *cobra.Command, flags *clientFlags, list []T, err error, print func(io.Writer, []T) error) error {
	switch {
	case err != nil:
		return err
	case flags.json:
		return failure(printJSON(cmd.OutOrStdout(), append([]T{}, list...)))
	}
	return failure(print(cmd.OutOrStdout(), list))
}

func printMitigations(w io.Writer, list []sdk.MitigationReport) error {
	columns := []column{
		{"TARGET", false},
		{"STATE", false},
		{"FOR", true},
		{"LEFT", true},
		{"ACTION", false},
		{"BY", false},
		{"PEERS", false},
		{"ID", false},
		{"CAUSE", false},
	}
	now := time.Now()
	var rows [][]string
	for i := range list {
		m := &list[i]
		left := "-"
		if !m.Expires.IsZero() {
			left = max(m.Expires.Sub(now), 0).Round(time.Second).String()
		}
		var peers []string
		for _, p := range m.Peers {
			peers = append(peers, p.Peer+" "+string(p.State))
		}
		by := "attack"
		if m.By != "" {
			by = m.By
		}
		rows = append(rows, []string{
			cmp.Or(sdk.TargetText(m.Target), "-"), string(m.State), max(now.Sub(m.Time), 0).Round(time.Second).String(), left, m.Action, by,
			cmp.Or(strings.Join(peers, ", "), "-"), m.ID, because(m),
		})
	}
	return writeTable(w, columns, rows)
}

// because is a mitigation's cause, with the reason that a person gave.
func because(m *sdk.MitigationReport) string {
	if m.Reason == "" {
		return m.Cause
	}
	return m.Cause + " (" + m.Reason + ")"
}

func printAudit(w io.Writer, list []mitigate.Audit) error {
	columns := []column{{"TIME", false}, {"WHO", false}, {"WHAT", false}, {"TARGET", false}, {"ACTION", false}, {"ID", false}, {"RESULT", false}, {"REASON", false}}
	var rows [][]string
	for _, a := range list {
		rows = append(rows, []string{moment(a.Time), a.Who, a.What, a.Target, a.Action, a.ID, a.Result, a.Reason})
	}
	return writeTable(w, columns, rows)
}

func banCommand() *cobra.Command {
	var flags clientFlags
	var q api.BanQuery
	var set []string
	cmd := &cobra.Command{
		Use:   "ban PREFIX",
		Short: "Have an address or a prefix mitigated",
		Long: `Ban asks the actions that an attack on the prefix would call, or those of --action, to hold a mitigation of it. The guards judge it as they judge
attacks; what they hold is shown, and let pass with "fastnetmon held release". The mode "monitor" of daemon, hostgroups and thresholds is about what is
done by itself: a ban is done all the same, but not with an action in mode "monitor".`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.Target, err = api.ParsePrefix(args[0]); err != nil {
				return &exitError{exitConfig, err}
			}
			if q.Set, err = settings(set); err != nil {
				return &exitError{exitConfig, err}
			}
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				list, err := c.Ban(ctx, q)
				return shownAs(cmd, &flags, list, err, printMitigations)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().DurationVar(&q.For, "for", 0, "how long")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for others")
	cmd.Flags().StringSliceVar(&q.Actions, "action", nil, "with which action, as action.gobgp.edge.blackhole; may be repeated")
	cmd.Flags().StringVar(&q.Direction, "direction", "incoming", "of the traffic: incoming or outgoing")
	cmd.Flags().StringArrayVar(&set, "set", nil, "KEY=VALUE instead of an attribute of the action's profile; may be repeated, also for one key")
	_ = cmd.MarkFlagRequired("for")    // they exist
	_ = cmd.MarkFlagRequired("reason") //
	return cmd
}

// settings reads KEY=VALUE.
func settings(texts []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, s := range texts {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %q: write KEY=VALUE, as next_hop=192.0.2.66", s)
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

func unbanCommand() *cobra.Command {
	var flags clientFlags
	var q api.UnbanQuery
	cmd := &cobra.Command{
		Use:   "unban ID|PREFIX",
		Short: "Release mitigations, whoever asked for them",
		Long: `Unban releases the mitigation of that id, all whose targets lie in the prefix, or all. What an attack that goes on had asked for is not asked for
again while it lasts.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.All == (len(args) == 1) {
				return &exitError{exitConfig, errors.New("name what is to be released: an id, a prefix, or --all")}
			}
			if len(args) == 1 {
				if p, err := api.ParsePrefix(args[0]); err == nil {
					q.Prefix = p
				} else {
					q.ID = args[0]
				}
			}
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				list, err := c.Unban(ctx, q)
				return shownAs(cmd, &flags, list, err, printMitigations)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&q.All, "all", false, "release all")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for others")
	return cmd
}

func heldCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "held",
		Short: "Decide about what guards keep back",
		Long: `Guards keep back what goes beyond max_active, max_share or max_new_per_minute until a person lets it pass or refuses it. What lies outside our
networks, is protected, a default route or wider than shortest_prefix is held too, and only the configuration can allow it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(heldListCommand(), decideCommand("release", "Let something pass that is held", true), decideCommand("refuse", "Give up something that is held", false))
	return cmd
}

func heldListCommand() *cobra.Command {
	return clientCommand("list", "List what guards keep back", func(ctx context.Context, c *api.Client) ([]sdk.MitigationReport, error) {
		list, err := c.Mitigations(ctx, 0)
		return slices.DeleteFunc(list, func(m sdk.MitigationReport) bool { return m.State != sdk.MitigationHeld }), err
	}, printMitigations)
}

func decideCommand(use, short string, release bool) *cobra.Command {
	var flags clientFlags
	q := api.DecideQuery{Release: release}
	cmd := &cobra.Command{
		Use:   use + " ID...",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				var all []sdk.MitigationReport
				for _, q.ID = range args {
					list, err := c.Decide(ctx, q)
					if err != nil {
						return err
					}
					all = append(all, list...)
				}
				return shownAs(cmd, &flags, all, nil, printMitigations)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for others")
	return cmd
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

// Explain implements api.Backend.
func (b backend) Explain(ctx context.Context, addr netip.Addr) (api.Explanation, error) {
	e, err := b.daemon.Explain(addr)
	if err != nil {
		return api.Explanation{}, err
	}
	out := api.Explanation{
		Address: e.Address, Host: e.Host, Known: e.Known, Network: e.Network, NetworkPrefix: e.NetworkPrefix,
		Group: e.Group, GroupPrefix: e.GroupPrefix, Chain: e.Chain, Mode: string(e.Mode), ModeReason: e.ModeReason,
		Suspended: e.Suspended, Revision: e.Revision, Attacks: e.Attacks, Would: b.daemon.WouldDo(ctx, addr),
	}
	for _, m := range b.daemon.Mitigations().Reports() {
		if m.Target.Contains(addr) {
			out.Mitigations = append(out.Mitigations, m)
		}
	}
	for _, l := range e.Limits {
		out.Limits = append(out.Limits, api.LimitState{
			Threshold: l.Threshold, Scope: l.Scope, Direction: l.Direction, Counter: l.Counter, Unit: l.Unit,
			Limit: l.Limit, Value: l.Value, Share: l.Share, Rules: l.Rules, Mode: string(l.Mode), Actions: l.Actions, State: l.State,
		})
	}
	for _, x := range e.Exemptions {
		out.Exemptions = append(out.Exemptions, api.ExemptionState(x))
	}
	return out, nil
}

func explainCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "explain ADDRESS",
		Short: "Show how an address is watched, and how far it is from each limit",
		Long: `Explain asks the running daemon about one address: its network and hostgroup, every limit with its present value, the exemptions that hold
for its traffic, what is done about its attacks and why, the attacks in progress, and what would fire now. To see a hostgroup with all
that it inherits use "fastnetmon check --explain GROUP".`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := api.ParseAddress(args[0])
			if err != nil {
				return err
			}
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				got, err := c.Explain(ctx, addr)
				if err != nil {
					return err
				}
				if flags.json {
					return failure(printJSON(cmd.OutOrStdout(), got))
				}
				return failure(printExplanation(cmd.OutOrStdout(), &got))
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func printExplanation(w io.Writer, e *api.Explanation) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("address", "%s%s", e.Address, countedAs(e))
	if e.Network == "" {
		line("network", "none: the address is not ours, and nothing is counted for it")
	} else {
		line("network", "%s, by %s", e.Network, e.NetworkPrefix)
	}
	switch {
	case e.Group == "" && e.Network != "":
		line("hostgroup", "none covers it: it has no limits")
	case e.Group != "":
		line("hostgroup", "%s, by %s", strings.Join(e.Chain, ", base "), e.GroupPrefix)
		line("mode", "%s: %s", e.Mode, e.ModeReason)
	}
	if e.Suspended != "" {
		line("suspended", "attacks are told but not enforced just now: %s", e.Suspended)
	}
	for _, x := range e.Exemptions {
		line("exempt", "%s", exemptionText(&x))
	}
	for i := range e.Attacks {
		a := &e.Attacks[i]
		line("attack", "%s on %s, %s, since %s UTC, named by %s, mode %s", a.ID, a.TargetName(), a.Direction, moment(a.Started), a.Threshold, a.Mode)
		if a.Label != "" {
			line("", "%s%s", a.Label, confidence(a))
		}
	}
	for i := range e.Mitigations {
		m := &e.Mitigations[i]
		line("mitigation", "%s %s by %s since %s UTC: %s", m.ID, m.State, m.Action, moment(m.Time), because(m))
	}
	for _, would := range e.Would {
		line("would do", "%s", would)
	}
	if e.Group != "" {
		line("would fire", "%s", wouldFire(e.Limits))
	}
	if _, err := io.WriteString(w, b.String()); err != nil || len(e.Limits) == 0 {
		return err
	}
	columns := []column{
		{"THRESHOLD", false},
		{"DIRECTION", false},
		{"COUNTER", false},
		{"UNIT", false},
		{"VALUE", true},
		{"LIMIT", true},
		{"SHARE", true},
		{"STATE", false},
		{"RULES", false},
		{"MODE", false},
		{"ACTIONS", false},
	}
	var rows [][]string
	for _, l := range e.Limits {
		name := l.Threshold
		if l.Scope != "host" {
			name += " (" + l.Scope + ")"
		}
		rows = append(rows, []string{
			name, l.Direction, l.Counter, l.Unit, count(l.Value), count(l.Limit), fmt.Sprintf("%.1f %%", 100*l.Share),
			l.State, strings.Join(l.Rules, " "), l.Mode, orDefault(strings.Join(l.Actions, " "), "-"),
		})
	}
	return writeTable(w, columns, rows)
}

func countedAs(e *api.Explanation) string {
	out := ""
	if !e.Host.IsSingleIP() {
		out = ", counted as " + e.Host.String()
	}
	if e.Network != "" && !e.Known {
		out += ", without traffic of its own at the moment"
	}
	return out
}

func exemptionText(x *api.ExemptionState) string {
	out := x.Name + ": " + x.Conditions
	if x.LimitBPS > 0 {
		out += fmt.Sprintf(", up to %s bps", count(x.LimitBPS))
	}
	if !x.Until.IsZero() {
		out += ", until " + moment(x.Until) + " UTC"
	}
	return out
}

// wouldFire names what is above its limit now, and what that calls.
func wouldFire(limits []api.LimitState) string {
	var out []string
	for _, l := range limits {
		if l.State == pipeline.LimitBelow {
			continue
		}
		text := fmt.Sprintf("%s %s, %s %s above %s", l.Threshold, l.Direction, l.Counter, l.Unit, count(l.Limit))
		if l.State == pipeline.LimitCrossed {
			text += " (crossed)"
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, "; ")
}

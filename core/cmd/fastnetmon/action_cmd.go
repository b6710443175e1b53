package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func actionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "action",
		Short: "Try actions",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(actionTestCommand())
	return cmd
}

// trial is what "action test" is to do.
type trial struct {
	clientFlags
	logs             logFlags
	name             string
	target, announce netip.Prefix
	held             time.Duration
}

func actionTestCommand() *cobra.Command {
	var t trial
	var target, announce string
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send one event to an action, ask what it would do, or have it done for some seconds",
		Long: `Test sends one attack.started, with an id that begins with "test-" and would_have set, to an action that notifies, and reports its answer. An
action that acts on the network is asked what it would announce, and the guards are asked about that; nothing is announced. NAME is as in the
configuration, as script.notify or gobgp.edge.blackhole.

With --announce an action that acts on the network announces that prefix, if the guards let it pass, for as long as --for says, tells what each
neighbour has of it, and takes it back. Traffic to the prefix is stopped meanwhile: use one that has none.

Where no daemon runs, the plugin of the action is started alone, as the configuration has it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.name = args[0]
			var err1, err2 error
			if target != "" {
				t.target, err1 = api.ParsePrefix(target)
			}
			if announce != "" {
				t.announce, err2 = api.ParsePrefix(announce)
			}
			if err := errors.Join(err1, err2); err != nil {
				return &exitError{exitConfig, err}
			}
			if t.held < 0 || t.held > maxAnnounced {
				return &exitError{exitConfig, fmt.Errorf("--for %v: use 0s to %v", t.held, maxAnnounced)}
			}
			return t.run(cmd)
		},
	}
	t.add(cmd)
	t.logs.add(cmd, "error")
	cmd.Flags().StringVar(&target, "target", "", "the attack's target (default: the first address of our networks)")
	cmd.Flags().StringVar(&announce, "announce", "", "announce this prefix, and take it back")
	cmd.Flags().DurationVar(&t.held, "for", 5*time.Second, "how long it stays announced, once it is")
	cmd.MarkFlagsMutuallyExclusive("target", "announce")
	return cmd
}

const (
	// maxAnnounced bounds how long a test announces.
	maxAnnounced = 10 * time.Minute
	// announceTime is how long sessions have to be there, and a route to be told or
	// gone.
	announceTime = 30 * time.Second
	lookEvery    = 100 * time.Millisecond
)

// run asks the daemon, or where none runs the plugin alone.
func (t *trial) run(cmd *cobra.Command) error {
	out := &testOutput{cmd: cmd, json: t.json}
	err := askDaemon(cmd, &t.clientFlags, func(ctx context.Context, c *api.Client) error {
		if t.announce.IsValid() {
			return t.announced(ctx, c, out)
		}
		got, err := c.TestAction(ctx, t.name, t.target)
		out.took(got.Lines, got.Failed)
		return err
	})
	if errors.Is(err, api.ErrNotRunning) && t.socket == "" {
		out.say("no daemon runs: the plugin was started alone")
		err = t.alone(cmd, out)
	}
	if err != nil {
		return err
	}
	return out.end()
}

// alone tries an action without a daemon.
func (t *trial) alone(cmd *cobra.Command, out *testOutput) error {
	path, err := configPath(t.config)
	if err != nil {
		return err
	}
	log, err := t.logs.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	cfg, diags := config.Load(path)
	if diags.HasErrors() {
		return showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg))
	}
	p, diags, err := pipeline.NewTrial(cmd.Context(), pipeline.Options{Config: cfg, Log: log, Version: version}, t.name)
	switch {
	case errors.Is(err, pipeline.ErrUnknown):
		return &exitError{exitConfig, err}
	case err != nil:
		return failure(err)
	case p == nil:
		return showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg))
	}
	defer p.Close()
	if !t.announce.IsValid() {
		out.took(p.Test(cmd.Context(), t.target))
		return nil
	}
	if err = t.announced(cmd.Context(), lone{p}, out); errors.Is(err, pipeline.ErrUnknown) {
		return &exitError{exitConfig, err}
	}
	return failure(err)
}

// announcer has something announced: a daemon, or a plugin alone.
type announcer interface {
	Ban(ctx context.Context, q api.BanQuery) ([]sdk.MitigationReport, error)
	Mitigations(ctx context.Context, history int) ([]sdk.MitigationReport, error)
	Unban(ctx context.Context, q api.UnbanQuery) ([]sdk.MitigationReport, error)
}

// lone is a plugin without a daemon.
type lone struct{ *pipeline.Trial }

func (l lone) Ban(ctx context.Context, q api.BanQuery) ([]sdk.MitigationReport, error) {
	return l.Trial.Ban(ctx, pipeline.BanQuery(q))
}

func (l lone) Mitigations(context.Context, int) ([]sdk.MitigationReport, error) {
	return l.Trial.Mitigations(), nil
}

func (l lone) Unban(ctx context.Context, q api.UnbanQuery) ([]sdk.MitigationReport, error) {
	return l.Trial.Unban(ctx, pipeline.UnbanQuery(q))
}

// announced has a prefix announced, tells what became of it, and has it taken
// back. Where this program is killed, it is taken back by itself after a while.
func (t *trial) announced(ctx context.Context, a announcer, out *testOutput) error {
	before, err := a.Mitigations(ctx, 0)
	if err != nil {
		return err
	}
	name := "action." + strings.TrimPrefix(t.name, "action.")
	if i := slices.IndexFunc(before, func(m sdk.MitigationReport) bool { return m.Target == t.announce && m.Action == name }); i >= 0 {
		return &exitError{exitConfig, fmt.Errorf("%s has mitigation %s of %s already, which the test would take back: use another prefix", name, before[i].ID, sdk.TargetText(t.announce))}
	}
	list, err := a.Ban(ctx, api.BanQuery{
		Who: who(), Target: t.announce, Direction: "incoming", For: t.held + 2*announceTime, Reason: "action test", Actions: []string{t.name},
	})
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return failure(fmt.Errorf("%d mitigations came of it, not one", len(list)))
	}
	id := list[0].ID
	began := time.Now()
	m, err := await(ctx, a, id, settled)
	if err == nil {
		out.settled(&m, time.Since(began))
		if there(m.State) {
			select {
			case <-ctx.Done():
			case <-time.After(t.held):
			}
		}
	}
	back := context.WithoutCancel(ctx) // what was announced is taken back also where people lose patience
	began = time.Now()
	if _, gone := a.Unban(back, api.UnbanQuery{ID: id, Reason: "action test"}); gone != nil {
		return errors.Join(err, gone)
	}
	m, gone := await(back, a, id, func(m *sdk.MitigationReport) bool { return m.State == sdk.MitigationReleased })
	if gone != nil {
		return errors.Join(err, gone)
	}
	if m.State != sdk.MitigationReleased {
		out.took([]string{fmt.Sprintf("it is still %s: %s", m.State, m.Cause)}, true)
	} else {
		out.say("taken back, within %v", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// who is the user that asks; a daemon finds that out for itself.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "somebody"
}

func there(s sdk.MitigationState) bool {
	return s == sdk.MitigationActive || s == sdk.MitigationSent
}

// settled tells whether nothing more is to be expected: it is with every
// neighbour, or will be with none.
func settled(m *sdk.MitigationReport) bool {
	if m.State == sdk.MitigationHeld || m.State == sdk.MitigationFailed || m.State == sdk.MitigationReleased {
		return true
	}
	return there(m.State) && !slices.ContainsFunc(m.Peers, func(p sdk.PeerStatus) bool { return !there(p.State) })
}

// await looks at a mitigation until it is so, or has had its time. One that is not
// there any more is released.
func await(ctx context.Context, a announcer, id string, so func(*sdk.MitigationReport) bool) (m sdk.MitigationReport, err error) {
	for end := time.Now().Add(announceTime); ; {
		list, err := a.Mitigations(ctx, 0)
		if err != nil {
			return m, err
		}
		m = sdk.MitigationReport{ID: id, State: sdk.MitigationReleased}
		if i := slices.IndexFunc(list, func(m sdk.MitigationReport) bool { return m.ID == id }); i >= 0 {
			m = list[i]
		}
		if so(&m) || !time.Now().Before(end) || ctx.Err() != nil {
			return m, nil
		}
		time.Sleep(lookEvery)
	}
}

// testOutput prints what comes of a test, for people at once.
type testOutput struct {
	cmd  *cobra.Command
	json bool
	api.ActionTest
	err error
}

func (o *testOutput) say(format string, args ...any) {
	o.took([]string{fmt.Sprintf(format, args...)}, false)
}

func (o *testOutput) took(lines []string, failed bool) {
	o.Lines, o.Failed = append(o.Lines, lines...), o.Failed || failed
	for _, line := range lines {
		if !o.json && o.err == nil {
			_, o.err = fmt.Fprintln(o.cmd.OutOrStdout(), printable(line))
		}
	}
}

// settled tells how far an announcement has got, and with whom.
func (o *testOutput) settled(m *sdk.MitigationReport, took time.Duration) {
	for _, text := range m.Announcements {
		o.say("%s for %s: %s", m.Action, sdk.TargetText(m.Target), text)
	}
	o.took([]string{fmt.Sprintf("it is %s after %v: %s", m.State, took.Round(time.Millisecond), m.Cause)}, !there(m.State))
	for _, p := range m.Peers {
		line := fmt.Sprintf("  %s: %s", p.Peer, p.State)
		if p.Cause != "" {
			line += ", " + p.Cause
		}
		o.took([]string{line}, !there(p.State))
	}
}

// end prints what people have not seen yet, and says how it went.
func (o *testOutput) end() error {
	if o.json {
		o.err = printJSON(o.cmd.OutOrStdout(), o.ActionTest)
	}
	if o.err != nil {
		return failure(o.err)
	}
	if o.Failed {
		return shown(exitFailure)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

// Suggest implements api.Backend.
func (b backend) Suggest(_ context.Context, group string) (api.Suggested, error) {
	got, err := b.daemon.Usual(pipeline.SuggestQuery{Group: group})
	if errors.Is(err, pipeline.ErrUnknown) {
		return api.Suggested{}, fmt.Errorf("%w: %w", api.ErrBadQuery, err)
	}
	if err != nil {
		return api.Suggested{}, err
	}
	report, err := suggestionJSON(got)
	return api.Suggested{HCL: got.HCL, Report: report}, err
}

func suggestCommand() *cobra.Command {
	var flags clientFlags
	var networks []string
	var in pipeline.Input
	var q pipeline.SuggestQuery
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "suggest [--group NAME] [CAPTURE...]",
		Short: "Suggest limits from how traffic was",
		Long: `Suggest prints hostgroup blocks with limits, ready to take the place of those of the same names, and in comments the evidence for each
limit: quantiles, the busiest host, the rule, and how many false positives are to be expected.

Without captures it asks the running daemon, which keeps how rates were (daemon { baseline }). With captures it plays them through
the configuration that --config names, or through one that has but the networks of --network, watches every host once a second, and
then plays them again through what it suggests: limits that a burst crosses are raised until none fires but on what the limits in
force call an attack too. --flows is that of replay.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, name := range []string{"network", "flows", "include-attacks"} {
					if cmd.Flags().Changed(name) {
						return fmt.Errorf("--%s goes with captures: name one or more pcap or pcapng files", name)
					}
				}
				return suggestOfDaemon(cmd, &flags, q.Group)
			}
			if flags.socket != "" {
				return errors.New("--socket asks a running daemon, which captures do not need: leave one of them out")
			}
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			opt, begin, err := suggestOptions(cmd.ErrOrStderr(), flags.config, networks, log)
			if err != nil {
				return err
			}
			in.Files = args
			got, err := pipeline.SuggestFrom(cmd.Context(), opt, in, q)
			if err != nil {
				return replayed(err)
			}
			if flags.json {
				report, err := suggestionJSON(got)
				if err != nil {
					return failure(err)
				}
				_, err = cmd.OutOrStdout().Write(report)
				return failure(err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), begin+got.HCL)
			return failure(err)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Group, "group", "", "only this hostgroup")
	f.BoolVar(&q.IncludeAttacks, "include-attacks", false, "with captures: what the limits in force call attacks is usual too")
	f.StringSliceVar(&networks, "network", nil, "with captures: our networks, in place of a configuration; may be repeated")
	cmd.MarkFlagsMutuallyExclusive("network", "config")
	addFlows(cmd, &in)
	logs.add(cmd, "warn")
	return cmd
}

func suggestOfDaemon(cmd *cobra.Command, flags *clientFlags, group string) error {
	return askDaemon(cmd, flags, func(ctx context.Context, c *api.Client) error {
		got, err := c.Suggest(ctx, group)
		if err != nil {
			return err
		}
		out := []byte(got.HCL)
		if flags.json {
			out = got.Report
		}
		_, err = cmd.OutOrStdout().Write(out)
		return failure(err)
	})
}

// suggestOptions loads the configuration, or makes one of networks alone, which
// then begins the output.
func suggestOptions(w io.Writer, named string, networks []string, log hclog.Logger) (opt pipeline.Options, begin string, err error) {
	if len(networks) == 0 {
		path, err := configPath(named)
		if err != nil {
			return opt, "", fmt.Errorf("%w, or name your networks with --network", err)
		}
		opt, err = replayOptions(w, path, log)
		return opt, "", err
	}
	var list []string
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return opt, "", fmt.Errorf("--network %q: not a prefix such as 203.0.113.0/24", n)
		}
		list = append(list, fmt.Sprintf("%q", p.Masked()))
	}
	begin = "network \"ours\" {\n  prefixes = [" + strings.Join(list, ", ") + "]\n}\n\n"
	cfg, diags := config.LoadBytes("suggest.hcl", []byte(begin+"hostgroup \"default\" {\n  networks = [network.ours]\n}\n"), config.ForReplay())
	return pipeline.Options{Config: cfg, Log: log, Version: version}, begin, onlyErrors(w, cfg, diags)
}

// onlyErrors shows what is wrong with a configuration that nobody has written:
// its warnings concern nobody.
func onlyErrors(w io.Writer, cfg *config.Config, diags hcl.Diagnostics) error {
	if !diags.HasErrors() {
		return nil
	}
	return showDiagnostics(w, diags, files(cfg))
}

// suggestionJSON is a suggestion with what it would fire.
func suggestionJSON(s *pipeline.Suggested) ([]byte, error) {
	type fire struct {
		Fires     string      `json:"fires"`
		Time      string      `json:"time"`
		Target    string      `json:"target"`
		Direction string      `json:"direction"`
		InForce   []jsonFired `json:"in_force"`
		Suggested []jsonFired `json:"suggested"`
	}
	names := map[string]string{"config": "in_force", "against": "suggested", "both": "both"}
	fires := []fire{}
	for i := range s.Differences {
		d := &s.Differences[i]
		fires = append(fires, fire{
			names[verdict(d)], timeText(d.Start()), d.Name(), d.Direction, firedJSON(d.Config), firedJSON(d.Against),
		})
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(struct {
		Suggestion any    `json:"suggestion"`
		Fires      []fire `json:"attacks"`
		HCL        string `json:"hcl"`
	}{s.Suggestion, fires, s.HCL})
	return out.Bytes(), err
}

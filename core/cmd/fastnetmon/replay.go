package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

func replayCommand() *cobra.Command {
	var named, against string
	var asJSON bool
	var in pipeline.Input
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "replay --config FILE [--against FILE] [--flows CAPTURE] FILE...",
		Short: "Show what a configuration detects in capture files",
		Long: `Replay reads pcap and pcapng files (gzip or not) as fast as it can, merged by their packets' time, and prints the events
that the configuration's networks, hostgroups and thresholds give. Captures of the configuration are not used, no action and no
export is called. After the last packet the clock runs on without traffic until every attack has ended. The same input gives
the same output.

With --flows the files hold what exporters have sent, recorded as it came in, for example by

  tcpdump -i eth0 -w flows.pcap udp port 2055

and the flows in it count: "--flows netflow" reads NetFlow and IPFIX, "--flows sflow" sFlow. The settings of the configuration's own
capture of that name hold (exporters, sampling); where it has several, name one, as in "--flows netflow.routers".

With --against it plays the same files through a second configuration and prints, for each target, what both fire and what only one
of them does.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no capture to replay: name one or more pcap or pcapng files")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := configPath(named)
			if err != nil {
				return err
			}
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			in.Files = args
			opt, err := replayOptions(cmd.ErrOrStderr(), path, log)
			if err != nil {
				return err
			}
			if against == "" {
				return replayed(replay(cmd.Context(), opt, in, cmd.OutOrStdout(), asJSON))
			}
			other, err := replayOptions(cmd.ErrOrStderr(), against, log)
			if err != nil {
				return err
			}
			c := compared{config: path, against: against}
			return replayed(c.compare(cmd.Context(), opt, other, in, cmd.OutOrStdout(), asJSON))
		},
	}
	f := cmd.Flags()
	f.StringVar(&named, "config", "", "configuration: a file, or a directory of *.hcl files")
	f.StringVar(&against, "against", "", "a second configuration to compare with")
	addFlows(cmd, &in)
	f.BoolVar(&asJSON, "json", false, "print one event a line, as JSON")
	logs.add(cmd, "warn")
	return cmd
}

// addFlows adds the flag that says what files hold.
func addFlows(cmd *cobra.Command, in *pipeline.Input) {
	cmd.Flags().StringVar(&in.Through, "flows", "", `the files hold flow datagrams, read by this capture: "netflow", "sflow", or PLUGIN.NAME of the configuration`)
}

// replayOptions loads a configuration for a replay, and shows what is wrong
// with it.
func replayOptions(w io.Writer, path string, log hclog.Logger) (pipeline.Options, error) {
	cfg, diags := config.Load(path, config.ForReplay())
	return pipeline.Options{Config: cfg, Log: log, Version: version}, showDiagnostics(w, diags, files(cfg))
}

// replay prints the events of one configuration.
func replay(ctx context.Context, opt pipeline.Options, in pipeline.Input, w io.Writer, asJSON bool) error {
	out := bufio.NewWriter(w)
	emit := textOutput(out)
	if asJSON {
		emit = jsonOutput(out)
	}
	err := pipeline.Replay(ctx, opt, in, emit)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return err
}

// replayed gives what went wrong in a replay its exit status.
func replayed(err error) error {
	var bad *pipeline.InputError
	switch {
	case errors.As(err, &bad):
		return &exitError{exitConfig, err}
	case err != nil:
		return &exitError{exitFailure, err}
	}
	return nil
}

package main

import (
	"bufio"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

func replayCommand() *cobra.Command {
	var named string
	var asJSON bool
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "replay --config FILE CAPTURE...",
		Short: "Show what a configuration detects in capture files",
		Long: `Replay reads pcap and pcapng files (gzip or not) as fast as it can, merged by their packets' time, and prints the events
that the configuration's networks, hostgroups and thresholds give. Captures of the configuration are not used, no action and no
export is called. After the last packet the clock runs on without traffic until every attack has ended. The same input gives
the same output.`,
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
			cfg, diags := config.Load(path, config.ForReplay())
			if err := showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg)); err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			emit := textOutput(out)
			if asJSON {
				emit = jsonOutput(out)
			}
			err = pipeline.Replay(cmd.Context(), pipeline.Options{Config: cfg, Log: log, Version: version}, args, emit)
			if flushed := out.Flush(); err == nil {
				err = flushed
			}
			var bad *pipeline.InputError
			switch {
			case errors.As(err, &bad):
				return &exitError{exitConfig, err}
			case err != nil:
				return &exitError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&named, "config", "", "configuration: a file, or a directory of *.hcl files")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one event a line, as JSON")
	logs.add(cmd, "warn")
	return cmd
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

func runCommand() *cobra.Command {
	var named string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Watch traffic and act until stopped",
		Long: `Run starts the plugins of the configuration, counts, decides and acts until it gets SIGINT or SIGTERM; then it drains
captures, engine and actions in that order. Without --config it looks for fastnetmon.hcl in this directory, then for
/etc/fastnetmon/fastnetmon.hcl and /etc/fastnetmon.hcl.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := configPath(named)
			if err != nil {
				return err
			}
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			cfg, diags := config.Load(path)
			if err := showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg)); err != nil {
				return err
			}
			log.Info("configuration loaded", "path", path, "revision", cfg.Revision)
			daemon := pipeline.New(pipeline.Options{Config: cfg, Log: log, Version: version})
			diags, err = daemon.Run(cmd.Context())
			if bad := showDiagnostics(cmd.ErrOrStderr(), diags, cfg.Files); bad != nil {
				return bad
			}
			if err != nil {
				return &exitError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&named, "config", "", "configuration: a file, or a directory of *.hcl files")
	logs.add(cmd, "info")
	return cmd
}

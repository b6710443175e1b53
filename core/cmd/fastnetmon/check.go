package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

func checkCommand() *cobra.Command {
	var named string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "check [FILE|DIRECTORY]",
		Short: "Check a configuration, plugin blocks included",
		Long: `Check reads a configuration and asks each plugin in it about its own block. Nothing is opened, started or changed.
The exit status is 0 when the configuration can be run (warnings may be shown), 2 when it cannot.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				named = args[0]
			}
			path, err := configPath(named)
			if err != nil {
				return err
			}
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			cfg, diags := config.Load(path)
			if !diags.HasErrors() {
				diags = append(diags, pipeline.Check(cmd.Context(), pipeline.Options{Config: cfg, Log: log, Version: version})...)
			}
			if err := showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid%s: %d networks, %d hostgroups, %d pipelines, revision %s\n",
				path, warnings(len(diags)), len(cfg.Networks), len(cfg.Groups), len(cfg.Pipelines), cfg.Revision)
			return nil
		},
	}
	cmd.Flags().StringVar(&named, "config", "", "the same as the argument")
	logs.add(cmd, "error")
	return cmd
}

func warnings(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", with a warning"
	}
	return fmt.Sprintf(", with %d warnings", n)
}

func files(cfg *config.Config) map[string]*hcl.File {
	if cfg == nil {
		return nil
	}
	return cfg.Files
}

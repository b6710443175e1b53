package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

func checkCommand() *cobra.Command {
	var named, group string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "check [FILE|DIRECTORY]",
		Short: "Check a configuration, plugin blocks included",
		Long: `Check reads a configuration and asks each plugin in it about its own block. No traffic is captured and nothing is changed.
The exit status is 0 when nothing is wrong (warnings may be shown), 2 when something is.

With --explain it prints one hostgroup as it holds, everything it inherits merged in and behind each setting where it comes from; plugins
are not asked then.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if named != "" {
					return fmt.Errorf("two configurations, %s and %s: name one", named, args[0])
				}
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
			if group != "" {
				return explainGroup(cmd, cfg, diags, group)
			}
			if !diags.HasErrors() {
				diags = append(diags, pipeline.Check(cmd.Context(), pipeline.Options{Config: cfg, Log: log, Version: version})...)
			}
			if err := showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid%s: %s, %s, %s, revision %s\n", path, warnings(len(diags)),
				plural(len(cfg.Networks), "network"), plural(len(cfg.Groups), "hostgroup"), plural(len(cfg.Pipelines), "pipeline"), cfg.Revision)
			return failure(err)
		},
	}
	cmd.Flags().StringVar(&named, "config", "", "the same as the argument")
	cmd.Flags().StringVar(&group, "explain", "", "print this hostgroup as it holds, with what it inherits")
	logs.add(cmd, "error")
	return cmd
}

// explainGroup prints one hostgroup of a configuration: where that has errors,
// what can be merged all the same.
func explainGroup(cmd *cobra.Command, cfg *config.Config, diags hcl.Diagnostics, name string) error {
	faults := showDiagnostics(cmd.ErrOrStderr(), diags, files(cfg))
	text, ok := cfg.ExplainGroup(name)
	switch {
	case ok && faults != nil:
		if _, err := fmt.Fprint(cmd.OutOrStdout(), "# The configuration has errors: what they are about is not in force, and may be missing here.\n", text); err != nil {
			return failure(err)
		}
		return faults
	case !ok && len(cfg.Groups) == 0 && faults != nil: // not one could be read
		return faults
	case !ok:
		meant := ""
		if near := cfg.NearestGroup(name); near != "" {
			meant = fmt.Sprintf(": did you mean %q?", near)
		}
		return fmt.Errorf("--explain: the configuration has no hostgroup %q%s", name, meant)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text)
	return failure(err)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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

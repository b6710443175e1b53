package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
)

func reloadCommand() *cobra.Command {
	var flags clientFlags
	var accept bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again",
		Long: `Reload has the daemon read its configuration again and shows what is different. What is sound is applied at once, without a gap; a
configuration at fault is refused (exit status 2), and the old one stays in force. Lists of prefixes that have lost half of their prefixes, or all,
are held, unless --accept-lists says that it is meant.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				got, err := c.Reload(ctx, accept)
				if err != nil {
					return err
				}
				return showReload(cmd, flags.json, got)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&accept, "accept-lists", false, "put lists of prefixes in force though they have lost much")
	return cmd
}

func showReload(cmd *cobra.Command, asJSON bool, got api.ReloadResult) error {
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), got); err != nil {
			return failure(err)
		}
	} else {
		if got.Diagnostics != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), printableLines(got.Diagnostics))
		}
		for _, line := range got.Differences {
			fmt.Fprintln(cmd.OutOrStdout(), printable(line))
		}
	}
	switch {
	case got.Refused:
		return &exitError{exitConfig, fmt.Errorf("the configuration is refused; revision %s stays in force", printable(got.Revision))}
	case asJSON:
		return nil
	case got.Changed:
		fmt.Fprintf(cmd.OutOrStdout(), "revision %s is in force\n", printable(got.Revision))
	default:
		fmt.Fprintf(cmd.OutOrStdout(), "nothing is different; revision %s stays in force\n", printable(got.Revision))
	}
	return nil
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

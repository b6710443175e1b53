package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
)

func pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Show installed plugins",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(pluginListCommand(), pluginDescribeCommand())
	return cmd
}

// listed is one plugin in "plugin list --json".
type listed struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
	Summary string `json:"summary,omitempty"`
	Error   string `json:"error,omitempty"`
}

func pluginListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List installed plugins",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			finder := plugin.NewFinder()
			all := []listed{}
			for _, found := range finder.List(cmd.Context()) {
				row := listed{Kind: found.Kind, Name: found.Name, Path: found.Path}
				if found.About != nil {
					row.Version, row.Summary = found.About.Version, found.About.Summary
				}
				if found.Err != nil {
					row.Error = found.Err.Error()
				}
				all = append(all, row)
			}
			if asJSON {
				return failure(printJSON(cmd.OutOrStdout(), all))
			}
			if len(all) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "no plugins in", strings.Join(finder.Dirs, ", "))
			}
			return failure(printPlugins(cmd.OutOrStdout(), all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

func printPlugins(w io.Writer, all []listed) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tNAME\tVERSION\tPATH\tSUMMARY")
	for _, p := range all {
		note := p.Summary
		if p.Error != "" {
			note = "unusable: " + p.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Kind, p.Name, p.Version, p.Path, note)
	}
	return t.Flush()
}

func pluginDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND NAME | describe PATH",
		Short: "Print what a plugin says of itself, its settings included, as JSON",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			if len(args) == 2 {
				found, err := plugin.NewFinder().Find(args[0], args[1], "")
				if err != nil {
					return &exitError{exitFailure, err}
				}
				path = found.Path
			} else if !strings.Contains(path, "/") {
				return fmt.Errorf("%q is no path: name a kind and a plugin, as in: plugin describe capture pcap", path)
			}
			about, err := plugin.Describe(cmd.Context(), path)
			if err != nil {
				return &exitError{exitFailure, err}
			}
			return failure(printJSON(cmd.OutOrStdout(), about))
		},
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// clientFlags are the flags of every command that asks a running daemon.
type clientFlags struct {
	socket string
	config string
	json   bool
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.socket, "socket", "", "the daemon's control socket (default: "+filepath.Join(config.DefaultRuntimeDir, api.SocketName)+")")
	cmd.Flags().StringVar(&f.config, "config", "", "the daemon's configuration, which says where its socket is")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
}

// path is where the daemon is asked.
func (f *clientFlags) path(w io.Writer) (string, error) {
	if f.socket != "" || f.config == "" {
		return orDefault(f.socket, filepath.Join(config.DefaultRuntimeDir, api.SocketName)), nil
	}
	// A daemon runs on when its file has been spoilt, and has secrets that its
	// asker has not: only the directory must be known.
	cfg, diags := config.Load(f.config)
	if cfg.Daemon.RuntimeDir == "" {
		return "", showDiagnostics(w, diags, files(cfg))
	}
	return filepath.Join(cfg.Daemon.RuntimeDir, api.SocketName), nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// askDaemon connects, and turns what fails into a sentence and an exit code.
func askDaemon(cmd *cobra.Command, f *clientFlags, ask func(context.Context, *api.Client) error) error {
	path, err := f.path(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	c, err := api.Connect(path)
	if err != nil {
		return failure(err)
	}
	defer c.Close()
	err = ask(cmd.Context(), c)
	switch {
	case err == nil, errors.As(err, new(*exitError)), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, api.ErrBadQuery):
		return &exitError{exitConfig, err}
	case errors.Is(err, api.ErrNotRunning):
		err = fmt.Errorf("%s: %w: start one with \"fastnetmon run\", or say where it is with --socket or --config", path, err)
	case errors.Is(err, api.ErrSilent):
		err = fmt.Errorf("%s: %w: it is stopped, or has too much to do; see its log, and restart it if that lasts", path, err)
	case errors.Is(err, api.ErrOtherDaemon):
		err = fmt.Errorf("%s: %w: restart it with this version", path, err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%s: permission denied: run this as root, as the daemon's user, or as a member of the socket's group", path)
	}
	return failure(err)
}

// clientCommand is a command that asks one thing and prints the answer, for
// people or as JSON.
func clientCommand[T any](use, short string, ask func(context.Context, *api.Client) (T, error), print func(io.Writer, T) error) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				got, err := ask(ctx, c)
				if err != nil {
					return err
				}
				if flags.json {
					return failure(printJSON(cmd.OutOrStdout(), got))
				}
				return failure(print(cmd.OutOrStdout(), got))
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// column is one of a table's; numbers stand to the right.
type column struct {
	name   string
	number bool
}

// writeTable aligns rows under their columns; the last one is not filled up.
func writeTable(w io.Writer, columns []column, rows [][]string) error {
	widths := make([]int, len(columns))
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.name
	}
	all := append([][]string{head}, rows...)
	for _, row := range all {
		for i, cell := range row {
			row[i] = printable(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].number {
				cell, gap = gap+cell, ""
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell + gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps what others have written from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // which no space is but the usual one
			return ' '
		}
		return r
	}, s)
}

// moment writes a time for people.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

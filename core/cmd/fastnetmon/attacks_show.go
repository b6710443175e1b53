package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

func attackShowCommand() *cobra.Command {
	var flags archiveFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all that is known of an attack",
		Long: `Show prints an attack of the history: when, on what, which limits it crossed, its label and why, who sent it, its first minute, what inspectors
found, and its files. ID may be the beginning of one, four characters at least.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withArchive(cmd, &flags, func(ctx context.Context, a api.Archive) error {
				attack, err := a.Attack(ctx, args[0])
				if err != nil {
					return err
				}
				if flags.json {
					return failure(printJSON(cmd.OutOrStdout(), pastJSON([]store.Attack{attack})[0]))
				}
				return failure(printAttack(ctx, cmd.OutOrStdout(), a, &attack))
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// printAttack writes an attack for people.
func printAttack(ctx context.Context, w io.Writer, a api.Archive, attack *store.Attack) error {
	e := &attack.Event
	var b strings.Builder
	evidence.Summary(&b, e)
	b.WriteString("\nstate\n")
	switch attack.State {
	case store.StateEnded:
		fmt.Fprintf(&b, "  ended %s UTC, after %s\n", moment(attack.Ended), lasted(attack))
	case store.StateInterrupted:
		fmt.Fprintf(&b, "  interrupted: the daemon stopped while it was open; last told of %s UTC, after %s\n", moment(attack.Ended), lasted(attack))
	default:
		fmt.Fprintf(&b, "  open, last told of %s UTC\n", moment(e.Time))
	}
	b.WriteString("\nlimits crossed\n")
	for i := range e.Crossed {
		c := &e.Crossed[i]
		fmt.Fprintf(&b, "  %s  %s, %s of a %s: %s (%s over %s)\n", moment(c.At), limitText(c), e.Direction, c.Scope, count(c.Value), ruleText(c.Rule), c.Window)
	}
	b.WriteString("\nfiles\n")
	for _, kind := range []string{api.FilePackets, api.FileReport} {
		f, err := a.AttackFile(ctx, e.ID, kind)
		if err != nil {
			fmt.Fprintf(&b, "  %-8s %v\n", kind, err)
			continue
		}
		_ = f.Content.Close() // it was only asked whether it is there
		fmt.Fprintf(&b, "  %-8s %s, %d octets\n", kind, f.Name, f.Size)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, printable(strings.TrimSuffix(line, "\n"))+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func attackPCAPCommand() *cobra.Command {
	var flags archiveFlags
	out := ""
	cmd := &cobra.Command{
		Use:   "pcap ID",
		Short: "Write the packets of an attack as a capture file",
		Long: `Pcap writes the sampled packets of an attack as a capture file, to standard output or, with --out, into a file, which must not be there yet: whole or
not at all. ID may be the beginning of one, four characters at least.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" && isTerminal(cmd.OutOrStdout()) {
				return &exitError{exitConfig, errors.New("a terminal cannot show packets: name a file with --out, or pipe them into a program")}
			}
			return withArchive(cmd, &flags, func(ctx context.Context, a api.Archive) error {
				f, err := a.AttackFile(ctx, args[0], api.FilePackets)
				if err != nil {
					return err
				}
				defer f.Content.Close()
				if out == "" {
					_, err = io.Copy(cmd.OutOrStdout(), f.Content)
					return failure(err)
				}
				return failure(saveAs(out, f.Content))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the file to write")
	return cmd
}

// saveAs writes a file that is not there yet, whole or not at all.
func saveAs(path string, content io.Reader) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: name another file, or remove it", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".fastnetmon-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // unlike a rename it replaces nothing
	}
	return errors.Join(err, os.Remove(f.Name()))
}

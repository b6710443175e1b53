package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func eventsCommand() *cobra.Command {
	var flags clientFlags
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the newest event of each attack in progress, and follow what comes",
		Long: `Events prints the newest event of each attack in progress. With --follow it goes on with every new event until it is
interrupted or the daemon stops. --json prints one event a line, as "replay --json" does, and where events were lost since they were not read in
time, {"event": "events.lost", "count": N}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := eventPrinter(cmd.OutOrStdout(), flags.json)
			return askDaemon(cmd, &flags, func(ctx context.Context, c *api.Client) error {
				if !follow {
					_, err := showOpen(ctx, c, out)
					return err
				}
				err := followEvents(ctx, c, out)
				if ctx.Err() != nil {
					return nil // to be interrupted is how it ends
				}
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with every new event")
	return cmd
}

// eventPrinter writes an event and how many were lost right before it.
func eventPrinter(w io.Writer, asJSON bool) func(e *sdk.Event, lost uint64) error {
	if !asJSON {
		text := textOutput(w)
		return func(e *sdk.Event, lost uint64) error {
			if lost > 0 {
				if _, err := fmt.Fprintf(w, "%d events lost: they were not read in time\n", lost); err != nil {
					return failure(err)
				}
			}
			return failure(text(pipeline.Output{Event: e}))
		}
	}
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	return func(e *sdk.Event, lost uint64) error {
		if lost > 0 {
			gap := struct {
				Event string `json:"event"`
				Count uint64 `json:"count"`
			}{"events.lost", lost}
			if err := lines.Encode(gap); err != nil {
				return failure(err)
			}
		}
		return failure(lines.Encode(e))
	}
}

// showOpen prints the attacks in progress, and returns how far each was told.
func showOpen(ctx context.Context, c *api.Client, out func(*sdk.Event, uint64) error) (map[string]uint32, error) {
	attacks, err := c.Attacks(ctx)
	if err != nil {
		return nil, err
	}
	told := map[string]uint32{}
	for i := range attacks {
		told[attacks[i].ID] = attacks[i].Seq
		if err := out(&attacks[i], 0); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// followEvents subscribes first, so that no event falls between the attacks in
// progress and what comes; what both tell is printed once.
func followEvents(ctx context.Context, c *api.Client, out func(*sdk.Event, uint64) error) error {
	stream, err := c.Events(ctx)
	if err != nil {
		return err
	}
	told, err := showOpen(ctx, c, out)
	if err != nil {
		return err
	}
	for {
		e, lost, err := stream.Next()
		if err != nil {
			return err
		}
		if seq, ok := told[e.ID]; ok && e.Seq <= seq && lost == 0 && e.Mitigation == nil {
			continue
		}
		if e.Mitigation == nil {
			delete(told, e.ID)
		}
		if err := out(&e, lost); err != nil {
			return err
		}
	}
}

package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func attackExportCommand() *cobra.Command {
	var flags archiveFlags
	var q historyFlags
	format := formatCSV
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the attacks of the history as CSV or JSON",
		Long: `Export writes all attacks that its flags choose, the newest first, as CSV or as JSON, one object a line (attack-v1.json). Cells of CSV that a
spreadsheet would take for a formula begin with an apostrophe.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.json {
				format = formatJSON
			}
			if err := oneOf("format", format, formatCSV, formatJSON); err != nil {
				return err
			}
			query, err := q.query(time.Now())
			if err != nil {
				return err
			}
			query.Limit = exportPage
			return withArchive(cmd, &flags, func(ctx context.Context, a api.Archive) error {
				return export(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), a, query, format)
			})
		},
	}
	flags.add(cmd)
	q.add(cmd)
	cmd.Flags().StringVar(&format, "format", format, "csv or json")
	return cmd
}

// exportPage is how many attacks are asked for at a time.
const exportPage = 200

// export writes page after page; none holds the history up.
func export(ctx context.Context, w, notes io.Writer, a api.Archive, q store.Query, format string) error {
	table := newCSV(w)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for {
		page, err := a.History(ctx, q)
		if err != nil {
			return err
		}
		next := page.Next
		page.Next = ""
		if format == formatCSV {
			err = table.page(page.Attacks)
		} else {
			for _, x := range pastJSON(page.Attacks) {
				if err = lines.Encode(x); err != nil {
					break
				}
			}
		}
		if err != nil {
			return failure(err)
		}
		if page.Damaged > 0 {
			if _, err := io.WriteString(notes, plural(page.Damaged, "attack")+" of the history cannot be read, and left out\n"); err != nil {
				return failure(err)
			}
		}
		if next == "" {
			return nil
		}
		q.After = next
	}
}

// attackJSON is an attack of the history: ../../../sdk/schema/attack-v1.json.
type attackJSON struct {
	State string    `json:"state"`
	Ended string    `json:"ended"` // RFC 3339, UTC; "": it goes on
	Event sdk.Event `json:"event"` // the newest
}

// pageJSON is a page of the history.
type pageJSON struct {
	Attacks []attackJSON `json:"attacks"`
	Next    string       `json:"next"` // cursor of the next page; "": there is none
}

func pastJSON(attacks []store.Attack) []attackJSON {
	out := make([]attackJSON, len(attacks))
	for i := range attacks {
		out[i] = attackJSON{State: attacks[i].State.String(), Event: attacks[i].Event}
		if ended := attacks[i].Ended; !ended.IsZero() {
			out[i].Ended = ended.UTC().Format(time.RFC3339Nano)
		}
	}
	return out
}

// csvColumns are the columns of an export, with what stands in them.
var csvColumns = []struct {
	name string
	cell func(*store.Attack) string
}{
	{"id", func(a *store.Attack) string { return a.Event.ID }},
	{"state", func(a *store.Attack) string { return a.State.String() }},
	{"started", func(a *store.Attack) string { return csvTime(a.Event.Started) }},
	{"ended", func(a *store.Attack) string { return csvTime(a.Ended) }},
	{"seconds", func(a *store.Attack) string {
		if a.Ended.IsZero() {
			return ""
		}
		return csvNumber(a.Ended.Sub(a.Event.Started).Round(time.Millisecond).Seconds())
	}},
	{"target", func(a *store.Attack) string { return sdk.TargetText(a.Event.Target) }},
	{"direction", func(a *store.Attack) string { return a.Event.Direction }},
	{"network", func(a *store.Attack) string { return a.Event.Network }},
	{"hostgroup", func(a *store.Attack) string { return a.Event.HostGroup }},
	{"label", func(a *store.Attack) string { return a.Event.Label }},
	{"label_confidence", func(a *store.Attack) string { return csvNumber(a.Event.Confidence) }},
	{"attack_type", func(a *store.Attack) string { return a.Event.AttackType }},
	{"protocol", func(a *store.Attack) string { return a.Event.Protocol }},
	{"peak_pps", func(a *store.Attack) string { return csvNumber(a.Event.PeakPPS) }},
	{"threshold", func(a *store.Attack) string { return a.Event.Threshold }},
	{"scope", func(a *store.Attack) string { return a.Event.Scope }},
	{"counter", func(a *store.Attack) string { return a.Event.Counter }},
	{"unit", func(a *store.Attack) string { return a.Event.Unit }},
	{"value", func(a *store.Attack) string { return csvNumber(a.Event.Value) }},
	{"limit", func(a *store.Attack) string { return csvNumber(a.Event.Limit) }},
	{"thresholds_crossed", func(a *store.Attack) string {
		var names []string
		for i := range a.Event.Crossed {
			names = append(names, a.Event.Crossed[i].Threshold)
		}
		return strings.Join(names, " ")
	}},
	{"mode", func(a *store.Attack) string { return a.Event.Mode }},
	{"top_source", func(a *store.Attack) string { return topOf(&a.Event, "sources") }},
	{"top_source_port", func(a *store.Attack) string { return topOf(&a.Event, "source_ports") }},
	{"top_as", func(a *store.Attack) string { return topOf(&a.Event, "as") }},
	{"top_country", func(a *store.Attack) string { return topOf(&a.Event, "countries") }},
	{"pcap", func(a *store.Attack) string {
		if a.Event.Evidence == nil {
			return ""
		}
		return a.Event.Evidence.PCAP
	}},
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func csvNumber(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// topOf is the most common value of a property.
func topOf(e *sdk.Event, name string) string {
	if e.Evidence == nil {
		return ""
	}
	for i := range e.Evidence.Tops {
		if t := &e.Evidence.Tops[i]; t.Name == name && len(t.Rows) > 0 {
			return t.Rows[0].Value
		}
	}
	return ""
}

// csvWriter writes attacks as CSV (RFC 4180, but for line ends).
type csvWriter struct {
	w      *csv.Writer
	headed bool
}

func newCSV(w io.Writer) *csvWriter { return &csvWriter{w: csv.NewWriter(w)} }

func (c *csvWriter) page(attacks []store.Attack) error {
	cells := make([]string, len(csvColumns))
	if !c.headed {
		c.headed = true
		for i, column := range csvColumns {
			cells[i] = column.name
		}
		if err := c.w.Write(cells); err != nil {
			return err
		}
	}
	for i := range attacks {
		for n, column := range csvColumns {
			cells[n] = harmless(column.cell(&attacks[i]))
		}
		if err := c.w.Write(cells); err != nil {
			return err
		}
	}
	c.w.Flush()
	return c.w.Error()
}

// harmless keeps a name from steering a terminal, and from being a formula to a
// spreadsheet.
func harmless(s string) string {
	s = printable(s)
	if trimmed := strings.TrimLeft(s, " "); trimmed != "" && strings.ContainsRune("=+-@|%", rune(trimmed[0])) {
		return "'" + s
	}
	return s
}

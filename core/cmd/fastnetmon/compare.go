package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
)

// compared is two configurations that the same captures are played through.
type compared struct {
	config, against string // as they were named
	revisions       [2]string
}

// compare plays the captures twice, and writes what the one configuration
// fires and what the other one does.
func (c compared) compare(ctx context.Context, first, second pipeline.Options, in pipeline.Input, w io.Writer, asJSON bool) error {
	c.revisions = [2]string{first.Config.Revision, second.Config.Revision}
	var a, b pipeline.Attacks
	for _, side := range []struct {
		opt  pipeline.Options
		seen *pipeline.Attacks
	}{{first, &a}, {second, &b}} {
		side.opt.NoEvidence = true
		if err := pipeline.Replay(ctx, side.opt, in, side.seen.Add); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(w)
	write := c.text
	if asJSON {
		write = c.json
	}
	if err := write(out, pipeline.Compare(a.All, b.All), &a, &b); err != nil {
		return err
	}
	return out.Flush()
}

// verdict says which of the configurations fires.
func verdict(d *pipeline.Difference) string {
	switch {
	case len(d.Against) == 0:
		return "config"
	case len(d.Config) == 0:
		return "against"
	}
	return "both"
}

// tally counts differences by verdict.
func tally(list []pipeline.Difference) map[string]int {
	n := map[string]int{}
	for i := range list {
		n[verdict(&list[i])]++
	}
	return n
}

// text writes differences for people.
func (c compared) text(w io.Writer, list []pipeline.Difference, a, b *pipeline.Attacks) error {
	var out strings.Builder
	names := map[string]string{"config": "only " + c.config, "against": "only " + c.against, "both": "both"}
	width := max(len(c.config), len(c.against))
	for i := range list {
		d := &list[i]
		fmt.Fprintf(&out, "%s  %s: %s %s", d.Start().UTC().Format("2006-01-02 15:04:05.000"), names[verdict(d)], d.Name(), d.Direction)
		for _, p := range d.Within {
			fmt.Fprintf(&out, ", told by the other as part of %s", p)
		}
		out.WriteString("\n")
		for _, side := range []struct {
			name string
			list []pipeline.Attack
		}{{c.config, d.Config}, {c.against, d.Against}} {
			for j := range side.list {
				fmt.Fprintf(&out, "    %-*s  %s\n", width, side.name, attackText(&side.list[j], d.Start()))
			}
		}
	}
	n := tally(list)
	fmt.Fprintf(&out, "%d packets, %d bytes: both fire %d times, only %s %d times, only %s %d times; attacks: %s %d, %s %d\n",
		a.Finished.Packets, a.Finished.Bytes, n["both"], c.config, n["config"], c.against, n["against"],
		c.config, len(a.All), c.against, len(b.All))
	_, err := io.WriteString(w, out.String())
	return err
}

// attackText is one attack in a line; start is when the first of those beside
// it began.
func attackText(a *pipeline.Attack, start time.Time) string {
	e := &a.First
	return fmt.Sprintf("%s  threshold %s: %s %s %s above %s (%s), hostgroup %s, for %s, peak %s pps",
		later(e.Time, start), e.Threshold, e.Counter, count(e.Value), e.Unit, count(e.Limit), ruleText(e.Rule), e.HostGroup,
		a.Last.Time.Sub(e.Time).Round(time.Millisecond), count(a.Last.PeakPPS))
}

// later is by how much a moment comes after another.
func later(t, start time.Time) string {
	return fmt.Sprintf("+%.2fs", t.Sub(start).Seconds())
}

// jsonFired is one attack as "replay --against --json" tells it.
type jsonFired struct {
	ID        string   `json:"id"`
	Started   string   `json:"started"`
	Ended     string   `json:"ended"`
	HostGroup string   `json:"hostgroup"`
	Mode      string   `json:"mode"`
	Threshold string   `json:"threshold"`
	Scope     string   `json:"scope"`
	Counter   string   `json:"counter"`
	Unit      string   `json:"unit"`
	Value     float64  `json:"value"`
	Limit     float64  `json:"limit"`
	Window    float64  `json:"window"` // seconds
	Rule      string   `json:"rule"`
	PeakPPS   float64  `json:"peak_pps"`
	Crossed   []string `json:"thresholds_crossed"` // names, in order
}

// json writes a difference a line, at last the sums.
func (c compared) json(w io.Writer, list []pipeline.Difference, a, b *pipeline.Attacks) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	type line struct {
		Event     string      `json:"event"`
		Fires     string      `json:"fires"`
		Time      string      `json:"time"`
		Target    string      `json:"target"`
		Direction string      `json:"direction"`
		Within    []string    `json:"within"`
		Config    []jsonFired `json:"config"`
		Against   []jsonFired `json:"against"`
	}
	for i := range list {
		d := &list[i]
		out := line{
			Event: "compare.attack", Fires: verdict(d), Time: timeText(d.Start()), Target: d.Name(), Direction: d.Direction,
			Within: append([]string{}, d.Within...), Config: firedJSON(d.Config), Against: firedJSON(d.Against),
		}
		if err := e.Encode(out); err != nil {
			return err
		}
	}
	n := tally(list)
	type side struct {
		Name     string `json:"name"`
		Revision string `json:"revision"`
		Attacks  int    `json:"attacks"`
	}
	return e.Encode(struct {
		Event   string `json:"event"`
		Packets uint64 `json:"packets"`
		Bytes   uint64 `json:"bytes"`
		Both    int    `json:"both"`
		Only    int    `json:"only_config"`
		Other   int    `json:"only_against"`
		Config  side   `json:"config"`
		Against side   `json:"against"`
	}{
		"compare.finished", a.Finished.Packets, a.Finished.Bytes, n["both"], n["config"], n["against"],
		side{c.config, c.revisions[0], len(a.All)},
		side{c.against, c.revisions[1], len(b.All)},
	})
}

func firedJSON(list []pipeline.Attack) []jsonFired {
	out := []jsonFired{}
	for i := range list {
		first, last := &list[i].First, &list[i].Last
		f := jsonFired{
			ID: first.ID, Started: timeText(first.Time), Ended: timeText(last.Time), HostGroup: first.HostGroup, Mode: first.Mode,
			Threshold: first.Threshold, Scope: first.Scope, Counter: first.Counter, Unit: first.Unit,
			Value: thousandth(first.Value), Limit: thousandth(first.Limit), Window: first.Window.Seconds(), Rule: first.Rule, PeakPPS: thousandth(last.PeakPPS),
		}
		for _, x := range last.Crossed {
			f.Crossed = append(f.Crossed, x.Threshold)
		}
		out = append(out, f)
	}
	return out
}

// thousandth rounds a rate as events do.
func thousandth(v float64) float64 { return math.Round(v*1000) / 1000 }

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

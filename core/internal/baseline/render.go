package baseline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Span writes a time in seconds for people.
func Span(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

// several writes a number of things.
func several(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// number writes a rate or a count with three digits.
func number(v float64) string {
	for _, u := range []struct {
		scale float64
		name  string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if v >= u.scale {
			if u.name == "k" {
				u.scale = 1e3
			}
			return strconv.FormatFloat(v/u.scale, 'g', 3, 64) + u.name
		}
	}
	if v < 100 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// rate writes a limit as the configuration reads it: round ones from a million
// on with a unit.
func rate(v float64) string {
	for _, u := range []struct {
		scale float64
		name  string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}} {
		if v >= u.scale {
			return strconv.Quote(strconv.FormatFloat(v/u.scale, 'f', -1, 64) + u.name)
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// writer gathers lines; hclwrite.Format does the rest.
type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// Header is what the suggestion rests on, as comments.
func (s *Suggestion) Header() string {
	var w writer
	span := ""
	if s.Seconds > 0 {
		span = fmt.Sprintf(", %s to %s UTC", s.From.UTC().Format("2006-01-02 15:04:05"), s.To.UTC().Format("2006-01-02 15:04:05"))
	}
	w.line("# Limits suggested from %s: %s watched%s.", s.Source, Span(s.Seconds), span)
	w.line("# A limit is the largest of twice the p99.9 of the busiest host, 1.25 times the largest value, and a floor, rounded up.")
	if s.Bursts {
		w.line("# Burst rules were tried on the same input.")
	} else {
		w.line("# Values are averages: whether a burst of less than a second would fire is not known.")
	}
	for _, t := range s.Notes {
		w.line("# %s.", t)
	}
	for _, t := range s.Thin {
		w.line("# THIN EVIDENCE: %s.", t)
	}
	for _, name := range s.Unseen {
		w.line("# hostgroup %q had no traffic: left as it is.", name)
	}
	return w.String()
}

// Blocks writes each hostgroup as a block that takes the place of the one of
// the same name. head gives the lines of a block that are not thresholds.
func (s *Suggestion) Blocks(head func(group string) []string) map[string]string {
	out := map[string]string{}
	for i := range s.Groups {
		out[s.Groups[i].Name] = s.Groups[i].block(head(s.Groups[i].Name))
	}
	return out
}

// OwnBlocks writes the hostgroups that are new: hosts with limits of their own.
func (g *GroupSuggestion) OwnBlocks() string {
	var w writer
	for i := range g.Own {
		o := &g.Own[i]
		w.line("\n# %s is far above the other hosts of hostgroup %q. If that is usual, it needs limits of its own,", o.Host.Addr(), g.Name)
		w.line("# which follow; if it was attacked, leave them out: the limits of the others hold for it then.")
		w.line("hostgroup %q {", o.Name)
		w.line("base = hostgroup.%s", g.Name)
		w.line("prefixes = [%q]", o.Host)
		for j := range o.Thresholds {
			w.threshold(&o.Thresholds[j], "the host", "day")
		}
		w.line("}")
	}
	return w.String()
}

func (g *GroupSuggestion) block(head []string) string {
	var w writer
	w.line("# %s at most at a time, %s host-days watched.", several(g.Hosts, "host"), number(g.HostDays))
	if len(g.Week) >= 24 {
		for dir, direction := range directions {
			top := slices.MaxFunc(g.Week, func(a, b HourRates) int { return cmp.Compare(a.PPS[dir], b.PPS[dir]) })
			least := slices.MinFunc(g.Week, func(a, b HourRates) int { return cmp.Compare(a.PPS[dir], b.PPS[dir]) })
			w.line("# All together, %s: busiest hour %s UTC, up to %s pps; quietest %s UTC, up to %s pps.", direction,
				top.Hour, number(float64(top.PPS[dir])), least.Hour, number(float64(least.PPS[dir])))
		}
	}
	for dir, seconds := range g.Attacked {
		if seconds > 0 {
			w.line("# Left out: %s of hosts under attack, %s, by the limits in force.", Span(seconds), directions[dir])
		}
	}
	for _, t := range g.Thin {
		w.line("# THIN EVIDENCE: %s.", t)
	}
	w.line("hostgroup %q {", g.Name)
	for _, line := range head {
		w.line("%s", line)
	}
	for i := range g.Thresholds {
		of, day := "each host", "host and day"
		if g.Thresholds[i].Scope != "host" {
			of, day = "the hostgroup together", "day"
		}
		w.threshold(&g.Thresholds[i], of, day)
	}
	if len(g.NotSeen) > 0 {
		w.line("\n# Not seen, so without limits of their own; core/README.md has some to start from:")
		for chunk := range slices.Chunk(g.NotSeen, 6) {
			w.line("# %s", strings.Join(chunk, ", "))
		}
	}
	w.line("}")
	return w.String()
}

// threshold writes a block; of is whose rates they are, day what false
// positives are counted by.
func (w *writer) threshold(t *Threshold, of, day string) {
	w.line("\nthreshold %q {", t.Name)
	w.line("direction = %q", t.Direction)
	if t.Counter != "total" {
		w.line("counter = counter.%s", t.Counter)
	}
	if t.Scope != "host" {
		w.line("scope = %q", t.Scope)
	}
	for i := range t.Limits {
		l := &t.Limits[i]
		hosts := ""
		if l.Hosts > 1 {
			hosts = fmt.Sprintf(", %d hosts had any", l.Hosts)
		}
		w.line("# %s of %s: p50 %s, p99 %s, p99.9 %s, largest %s; %s%s", l.Unit, of,
			number(l.P50), number(l.P99), number(l.P999), number(l.Max), several(int(l.Samples), "sample"), hosts)
		rule := l.Rule
		if l.Busiest.IsValid() {
			rule += fmt.Sprintf(" (%s: p99.9 %s)", l.Busiest.Addr(), number(l.Top))
		}
		if l.Raised > 0 {
			rule += fmt.Sprintf(" (%s before)", number(l.Raised))
		}
		w.line("# %s", rule)
		w.line("# %s", l.expectation(day))
		w.line("%s = %s", l.Unit, rate(l.Limit))
	}
	w.line("}")
}

func (l *Limit) expectation(day string) string {
	unit := "host-days"
	if day == "day" {
		unit = "days"
	}
	if l.Fires == 0 {
		return fmt.Sprintf("false positives: none in %s %s, so at most %s per %s (95 %%)", number(l.Days), unit, number(l.AtMost), day)
	}
	return fmt.Sprintf("FALSE POSITIVES: %d in %s %s, at most %s per %s (95 %%)", l.Fires, number(l.Days), unit, number(l.AtMost), day)
}

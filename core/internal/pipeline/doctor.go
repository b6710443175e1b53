package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Diagnosis is one thing that Doctor has looked at.
type Diagnosis struct {
	Input  string // capture it is about: netflow.routers; "" for all together
	Name   string
	State  string // "ok", "warn" or "fault"
	Detail string // what was found and what to do, in a sentence
}

// checkOrder is the order in which data passes what is checked. What plugins
// check beyond it comes last.
var checkOrder = []string{
	"daemon", "mitigation", "running", "restarts", "bound", "rp_filter", "firewall", "datagrams", "traffic", "standby", "receive buffer", "listed", "silent", "decoded", "templates", "sampling",
	"addresses", "direction", "samples", "sequence", "clock", "timeout", "visible", "forward", "buffer size",
}

// Doctor says why no traffic, or not the right one, may be seen: faults first,
// each in the order in which data passes.
func (d *Daemon) Doctor(ctx context.Context) ([]Diagnosis, error) {
	x := &examination{}
	var plugins []PluginState
	var pairs []standby
	if !d.sys.loop.do(func() {
		plugins = d.states()
		x.captures, x.cfg, x.totals = d.inUse(), d.cfg, totalRates(d.sys.loop.engine)
		for _, s := range d.sys.loop.standbys {
			pairs = append(pairs, *s)
		}
	}) {
		return nil, ErrEnded
	}
	x.daemon(d.sys.troubles())
	for _, text := range d.sys.mitigation.waiting() {
		x.say("", "mitigation", exporter.StateWarn, "%s", text)
	}
	x.running()
	x.standbys(pairs, d.sys.loop.now())
	x.restarts(plugins)
	x.plugins(tablesOf(ctx, x.captures, exporter.TableDoctor))
	x.addresses(tablesOf(ctx, x.captures, exporter.TableAddresses))
	x.directions()
	x.exporters(tablesOf(ctx, x.captures, exporter.TableExporters))
	return x.sorted(), ctx.Err()
}

// examination collects checks.
type examination struct {
	captures []tapped
	cfg      *config.Config
	totals   []sdk.TotalRate
	checks   []Diagnosis
}

func (x *examination) say(input, name, state, format string, args ...any) {
	x.checks = append(x.checks, Diagnosis{input, name, state, fmt.Sprintf(format, args...)})
}

func (x *examination) sorted() []Diagnosis {
	rank := func(list []string, s string) int {
		if i := slices.Index(list, s); i >= 0 {
			return i
		}
		return len(list)
	}
	states := []string{exporter.StateFault, exporter.StateWarn, exporter.StateOK}
	slices.SortStableFunc(x.checks, func(a, b Diagnosis) int {
		return cmp.Or(cmp.Compare(rank(states, a.State), rank(states, b.State)), cmp.Compare(rank(checkOrder, a.Name), rank(checkOrder, b.Name)))
	})
	type about struct{ input, name string }
	seen := map[about]bool{}
	return slices.DeleteFunc(x.checks, func(c Diagnosis) bool { // of two of the same the worse comes first
		again := seen[about{c.Input, c.Name}] && c.Name != "forward" && c.Name != "daemon" && c.Name != "mitigation"
		seen[about{c.Input, c.Name}] = true
		return again
	})
}

// daemon tells what is wrong with this program itself.
func (x *examination) daemon(troubles []string) {
	for _, trouble := range troubles {
		x.say("", "daemon", exporter.StateFault, "%s", trouble)
	}
}

// running looks at the captures' processes.
func (x *examination) running() {
	if len(x.captures) == 0 {
		x.say("", "running", exporter.StateFault, "no pipeline has a capture, so no traffic comes in: write a capture block and name it in a pipeline")
	}
	for _, c := range x.captures {
		switch s := c.status; {
		case s.State == plugin.Finished:
			x.say(c.title(), "running", exporter.StateOK, "its input has ended")
		case c.proc == nil:
			x.say(c.title(), "running", exporter.StateFault, "it is %s: %s", s.State, cmp.Or(s.Message, lastFailure(s.Failures), "see fastnetmon plugins"))
		case s.State == plugin.Unhealthy:
			x.say(c.title(), "running", exporter.StateFault, "it is unhealthy: %s", s.Message)
		case !c.about.Has(host.FeatureTable): // the others tell more
			x.say(c.title(), "running", exporter.StateOK, "running since %s", s.Since.UTC().Format(time.RFC3339))
		}
		x.traffic(&c)
	}
}

// restarts tells of plugins of every kind that run, but have failed lately.
func (x *examination) restarts(plugins []PluginState) {
	for i := range plugins {
		p := &plugins[i]
		f, name := p.Status.Failures, p.Block.Name+"."+p.Block.Instance
		switch state := p.Status.State; {
		case p.Block.Kind == "capture" && state != plugin.Running: // running says more
		case state == plugin.Running && f.Count > 0 && time.Since(f.At) < failureLately:
			x.say(name, "restarts", exporter.StateWarn, "the %s runs again; %s", p.Block.Kind, lastFailure(f))
		case p.Block.Kind == "capture" || state == plugin.Running || state == plugin.Finished:
		default:
			x.say(name, "running", exporter.StateFault, "the %s is %s: %s", p.Block.Kind, state, cmp.Or(p.Status.Message, lastFailure(f), "see fastnetmon plugins"))
		}
	}
}

// failureLately is for how long a failure is spoken of though it is over.
const failureLately = 10 * time.Minute

// lastFailure tells of an instance's failures, "" where there were none.
func lastFailure(f plugin.Failures) string {
	if f.Count == 0 {
		return ""
	}
	return fmt.Sprintf("it has failed %s, the last time %s ago: %s", times(f.Count), time.Since(f.At).Round(time.Second), f.Last)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

const (
	quietAfterTraffic = 10 * time.Second
	quietFromTheStart = 30 * time.Second
)

// traffic tells of a capture that works and to which nothing comes.
func (x *examination) traffic(c *tapped) {
	switch {
	case c.proc == nil:
	case c.fed && c.quiet >= quietAfterTraffic:
		x.say(c.title(), "traffic", exporter.StateWarn, "it has received nothing for %s, and had before: does what feeds it still send?", c.quiet)
	case !c.fed && c.quiet >= quietFromTheStart:
		x.say(c.title(), "traffic", exporter.StateWarn, "it has received nothing in the %s since it was started", c.quiet)
	}
}

// maxChecks bounds what one plugin may add.
const maxChecks = 64

// plugins takes over what the captures say of themselves.
func (x *examination) plugins(tables []PluginTable) {
	for _, t := range tables {
		if t.Err != nil {
			x.say(t.Plugin, "running", exporter.StateFault, "it does not say how it is: %v", t.Err)
		}
		for i := range t.Rows.Rows[:min(len(t.Rows.Rows), maxChecks)] {
			state := t.cell(i, "state")
			if state != exporter.StateFault && state != exporter.StateWarn {
				state = exporter.StateOK
			}
			x.say(t.Plugin, t.cell(i, "check"), state, "%s", t.cell(i, "detail"))
		}
	}
}

const (
	enoughRecords = 20 // sampled ones, before their addresses say anything
	shownPrefixes = 10
)

// addresses compares where records come from and go to with our networks.
func (x *examination) addresses(tables []PluginTable) {
	for _, t := range tables {
		inside, all := x.inside(&t)
		if all < enoughRecords {
			continue
		}
		switch share := 100 * inside / all; {
		case inside == 0:
			x.say(t.Plugin, "addresses", exporter.StateFault, "none of its records has an address inside our networks; the most frequent prefixes are %s: write yours in a network block",
				x.unmatched(&t))
		case share < 50:
			x.say(t.Plugin, "addresses", exporter.StateWarn, "only about %d %% of its records have an address inside our networks; the most frequent other prefixes are %s: "+
				"if some are yours, write them in a network block", share, x.unmatched(&t))
		default:
			x.say(t.Plugin, "addresses", exporter.StateOK, "about %d %% of its records have an address inside our networks", share)
		}
	}
}

// inside counts, of a plugin's last records, those with an address of ours.
func (x *examination) inside(t *PluginTable) (inside, all int) {
	for i := range t.Rows.Rows {
		from, err1 := netip.ParsePrefix(t.cell(i, "source"))
		to, err2 := netip.ParsePrefix(t.cell(i, "destination"))
		if err1 != nil || err2 != nil {
			continue
		}
		if all++; x.isOurs(from) || x.isOurs(to) {
			inside++
		}
	}
	return inside, all
}

// unmatched lists the most frequent prefixes that are not ours.
func (x *examination) unmatched(t *PluginTable) string {
	var list []string
	for i := range t.Rows.Rows {
		p, err := netip.ParsePrefix(t.cell(i, "prefix"))
		n, _ := strconv.ParseUint(t.cell(i, "records"), 10, 64) // 0 where it is no number
		of, _ := strconv.ParseUint(t.cell(i, "of"), 10, 64)
		if err == nil && !x.isOurs(p) && len(list) < shownPrefixes {
			list = append(list, fmt.Sprintf("%s (%d %%)", p, 100*n/max(of, 1)))
		}
	}
	return strings.Join(list, ", ")
}

// isOurs reports whether a prefix and our networks have addresses in common.
func (x *examination) isOurs(p netip.Prefix) bool {
	for _, n := range x.cfg.Networks {
		for _, ours := range n.Prefixes {
			if ours.Overlaps(p) {
				return true
			}
		}
	}
	return false
}

// leastRate is what counts as traffic, in packets per second.
const leastRate = 10

// directions looks at where all traffic goes.
func (x *examination) directions() {
	pps := map[string]float64{}
	for _, t := range x.totals {
		if len(t.Counters) > 0 {
			pps[t.Direction] += t.Counters[0].PPS
		}
	}
	in, out := pps["incoming"], pps["outgoing"]
	switch {
	case in < leastRate && out < leastRate:
		if pps["other"] >= leastRate {
			x.say("", "direction", exporter.StateFault, "%s packets a second are seen, but none from or to our networks: are the prefixes in the network blocks right?", whole(pps["other"]))
		}
	case in < leastRate && x.limited("incoming"):
		x.say("", "direction", exporter.StateFault, "only outgoing traffic is seen, so no attack on our hosts can be: let the devices sample, or the switch mirror, what comes in too, "+
			"and see whether count and interfaces in the exporter blocks leave it out")
	case out < leastRate && x.limited("outgoing"):
		x.say("", "direction", exporter.StateWarn, "only incoming traffic is seen, so no attack by our hosts can be, though thresholds ask for it: let the devices sample, or the switch mirror, what goes out too, "+
			"or write direction = \"incoming\" in the thresholds")
	default:
		x.say("", "direction", exporter.StateOK, "%s packets a second come in, %s go out", whole(in), whole(out))
	}
}

// limited reports whether a threshold looks at traffic of that direction.
func (x *examination) limited(direction string) bool {
	for _, g := range x.cfg.Groups {
		for _, t := range g.Thresholds {
			if t.Direction == direction || t.Direction == "" {
				return true
			}
		}
	}
	return false
}

func whole(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

// exporters compares how the devices report with what the limits need.
func (x *examination) exporters(tables []PluginTable) {
	average, group := x.shortestAverage()
	least, threshold := x.smallestVolume()
	for _, t := range tables {
		var late, blind []string
		var longest time.Duration
		for i := range t.Rows.Rows {
			name := t.cell(i, "exporter")
			if timeout, err := time.ParseDuration(t.cell(i, "active timeout")); err == nil && average > 0 && timeout > average {
				late, longest = append(late, name), max(longest, timeout)
			}
			_, high, _ := strings.Cut("-"+t.cell(i, "sampling"), "-")
			if _, last, ok := strings.Cut(high, "-"); ok {
				high = last
			}
			if rate, err := strconv.ParseFloat(high, 64); err == nil && rate > 1 && least > 0 && least/rate < neededSamples {
				blind = append(blind, fmt.Sprintf("%s (1:%s, from %s pps)", name, high, t.cell(i, "visible pps")))
			}
		}
		if len(late) > 0 {
			x.say(t.Plugin, "timeout", exporter.StateWarn, "long flows are reported up to %s late by %s, but hostgroup %q averages over %s: an attack in long flows is seen that much later; "+
				"set the active timeout of the devices as low as they can", longest, some(late), group, average)
		}
		if len(blind) > 0 {
			x.say(t.Plugin, "visible", exporter.StateWarn, "threshold %s is too low for the sampling rate of %s: it is decided on later, from 30 sampled packets on; sample more, or raise the limit",
				threshold, some(blind))
		}
	}
}

// neededSamples is how many sampled packets a decision takes.
const neededSamples = 30

// some lists a few of many.
func some(list []string) string {
	if n := len(list) - 5; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:5], ", "), n)
	}
	return strings.Join(list, ", ")
}

// shortestAverage returns the shortest time constant of a group with limits.
func (x *examination) shortestAverage() (average time.Duration, group string) {
	for _, g := range x.cfg.Groups {
		if len(g.Thresholds) > 0 && (average == 0 || g.Average < average) {
			average, group = g.Average, g.Name
		}
	}
	return average, group
}

// smallestVolume returns the fewest packets in an average that a limit is
// about, and the limit's name.
func (x *examination) smallestVolume() (packets float64, threshold string) {
	for _, g := range x.cfg.Groups {
		for _, t := range g.Thresholds {
			if v := t.PPS * g.Average.Seconds(); v > 0 && (packets == 0 || v < packets) {
				packets, threshold = v, fmt.Sprintf("%s of hostgroup %q (%s pps)", t.Name, g.Name, whole(t.PPS))
			}
		}
	}
	return packets, threshold
}

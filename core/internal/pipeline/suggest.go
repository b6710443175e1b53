package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// SuggestQuery says what limits are wanted for.
type SuggestQuery struct {
	Group          string // "": all hostgroups
	IncludeAttacks bool   // what the limits in force call attacks is usual too
}

// Suggested is limits, the text to paste and what it would fire.
type Suggested struct {
	*baseline.Suggestion
	// Differences are what the limits in force and those suggested fire in the
	// input; nil where there is no input to try them on.
	Differences []Difference
	HCL         string
}

// groupNames are the hostgroups that a query is about, in the order of the
// configuration.
func (q SuggestQuery) groupNames(cfg *config.Config) ([]string, error) {
	var out []string
	for _, g := range cfg.Groups {
		if q.Group == "" || g.Name == q.Group {
			out = append(out, g.Name)
		}
	}
	if len(out) == 0 && q.Group != "" {
		near := ""
		if name := cfg.NearestGroup(q.Group); name != "" {
			near = fmt.Sprintf("; did you mean %q?", name)
		}
		return nil, fmt.Errorf("%w hostgroup %q%s", ErrUnknown, q.Group, near)
	}
	return out, nil
}

// SuggestFrom plays captures through a configuration, suggests limits from how
// rates were, and tries these on the same input.
func SuggestFrom(ctx context.Context, opt Options, in Input, q SuggestQuery) (*Suggested, error) {
	groups, err := q.groupNames(opt.Config)
	if err != nil {
		return nil, &InputError{err}
	}
	probing, diags := withProbes(opt.Config, q.IncludeAttacks)
	if diags.HasErrors() {
		return nil, diags
	}
	learn := opt
	learn.Config = probing
	var before Attacks
	profile, err := play(ctx, learn, in, before.Add, true)
	if err != nil {
		return nil, err
	}
	out := &Suggested{Suggestion: baseline.Suggest(profile, groups)}
	out.Source, out.Bursts = strings.Join(in.Files, ", "), true
	if q.IncludeAttacks || !slices.ContainsFunc(opt.Config.Groups, func(g *config.HostGroup) bool { return len(g.Thresholds) > 0 }) {
		out.Notes = append(out.Notes, "No limits told what is an attack: if there was any in the input, it is taken for usual")
	}
	return out, out.try(ctx, opt, in, &before)
}

// rounds bounds how often limits are raised for bursts and tried again.
const rounds = 6

// try plays the input through what is suggested, and raises limits that fire
// on what the limits in force do not call an attack.
func (s *Suggested) try(ctx context.Context, opt Options, in Input, before *Attacks) error {
	for round := 0; ; round++ {
		next, err := s.write(opt.Config)
		if err != nil {
			return err
		}
		trial := opt
		trial.Config, trial.NoEvidence = next, true
		var after Attacks
		if err := Replay(ctx, trial, in, after.Add); err != nil {
			return err
		}
		s.Differences = Compare(before.All, after.All)
		again := false
		for i := range s.Differences {
			if d := &s.Differences[i]; len(d.Config) == 0 && round < rounds {
				again = s.raise(next, d.Against) || again
			}
		}
		if again {
			continue
		}
		s.expect(next)
		_, err = s.write(opt.Config)
		return err
	}
}

// limitOf finds the limit that a crossing of a hostgroup is about: its own, or
// one that it has inherited.
func (s *Suggested) limitOf(cfg *config.Config, group, threshold, unit string) *baseline.Limit {
	for g := groupNamed(cfg, group); g != nil; g = g.Base {
		for i := range s.Groups {
			of := &s.Groups[i]
			lists := [][]baseline.Threshold{}
			if of.Name == g.Name {
				lists = append(lists, of.Thresholds)
			}
			for j := range of.Own {
				if of.Own[j].Name == g.Name {
					lists = append(lists, of.Own[j].Thresholds)
				}
			}
			for _, list := range lists {
				for j := range list {
					for k := range list[j].Limits {
						if l := &list[j].Limits[k]; list[j].Name == threshold && l.Unit == unit {
							return l
						}
					}
				}
			}
		}
	}
	return nil
}

// raise raises what fired so far that it does not fire again.
func (s *Suggested) raise(cfg *config.Config, attacks []Attack) (raised bool) {
	for i := range attacks {
		a := &attacks[i]
		for _, c := range a.Last.Crossed {
			l := s.limitOf(cfg, a.First.HostGroup, c.Threshold, c.Unit)
			if l == nil {
				continue
			}
			need := 1.25 * max(c.Value, l.Max)
			if _, factor, burst := strings.Cut(c.Rule, "x"); burst {
				f, err := strconv.ParseFloat(factor, 64)
				if err != nil || f < 1 {
					continue
				}
				need = 1.1 * c.Value / f
			}
			if need = baseline.RoundUp(need); need <= l.Limit {
				need = baseline.RoundUp(1.1 * l.Limit)
			}
			if l.Raised == 0 {
				l.Raised = l.Limit
			}
			l.Limit, l.Rule, raised = need, baseline.RuleBurst, true
		}
	}
	return raised
}

// expect counts what fires that the limits in force do not call an attack.
func (s *Suggested) expect(cfg *config.Config) {
	fires := map[*baseline.Limit]uint64{}
	for i := range s.Differences {
		if d := &s.Differences[i]; len(d.Config) == 0 {
			for j := range d.Against {
				e := &d.Against[j].First
				if l := s.limitOf(cfg, e.HostGroup, e.Threshold, e.Unit); l != nil {
					fires[l]++
				}
			}
		}
	}
	s.EachLimit(func(l *baseline.Limit) { l.Expect(fires[l]) })
}

// probeLimit is a limit that nothing crosses: a counter with it is counted.
const probeLimit = `"9T"`

// withProbes is a configuration in which all counters worth a limit are
// counted in every hostgroup. Its own limits tell what is an attack, unless
// attacks are to be taken for usual.
func withProbes(cfg *config.Config, includeAttacks bool) (*config.Config, hcl.Diagnostics) {
	room := count.MaxCounters
	var names []string
	for _, c := range cfg.Counters {
		names = append(names, c.Name)
		room--
	}
	for _, e := range cfg.Exemptions {
		if e.LimitBPS > 0 {
			room--
		}
	}
	for _, name := range config.ShippedNames() {
		if room > 0 && !slices.Contains(names, name) {
			names = append(names, name)
			room--
		}
	}
	probes := "\n  threshold \"suggest_probe\" {\n    fps = " + probeLimit + "\n  }\n"
	for _, name := range names {
		probes += fmt.Sprintf("  threshold %q {\n    counter = counter.%s\n    pps = %s\n  }\n", "suggest_probe_"+name, name, probeLimit)
	}
	blocks := map[string]string{}
	for _, g := range cfg.Groups {
		switch {
		case includeAttacks:
			blocks[g.Name] = "hostgroup " + strconv.Quote(g.Name) + " {\n" + strings.Join(cfg.GroupHead(g.Name), "\n") + "\n" + probes + "}"
		case g.Base == nil:
			blocks[g.Name] = cfg.GroupSource(g.Name) + probes + "}"
		}
	}
	return cfg.Rewrite(blocks, "", config.ForReplay(), config.ByDefaultRule())
}

// Usual suggests limits from how rates were while the daemon ran, and earlier
// as far as it knows.
func (d *Daemon) Usual(q SuggestQuery) (*Suggested, error) {
	var cfg *config.Config
	if !d.sys.loop.do(func() { cfg = d.cfg }) {
		return nil, ErrEnded
	}
	groups, err := q.groupNames(cfg)
	if err != nil {
		return nil, err
	}
	out := &Suggested{Suggestion: baseline.Suggest(d.recorder.Merged(time.Now()), groups)}
	out.Source = "the running daemon"
	_, err = out.write(cfg)
	return out, err
}

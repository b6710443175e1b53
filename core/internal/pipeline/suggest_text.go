package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/fastnetmon-go/fastnetmon/core/internal/baseline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
)

// write makes the text, and the configuration as it would be with it. Where a
// block that stays says something about a threshold of the name of a suggested
// one and the two do not go together, the suggested one gets another name.
func (s *Suggested) write(cfg *config.Config) (*config.Config, error) {
	kept := s.kept(cfg)
	s.rename(func(name string) bool {
		return slices.ContainsFunc(kept, func(k keptThreshold) bool { return k.name == name })
	})
	next, diags := s.rewrite(cfg, kept)
	if diags.HasErrors() {
		standing := s.standing(cfg)
		s.rename(func(name string) bool { return slices.Contains(standing, name) })
		next, diags = s.rewrite(cfg, kept)
	}
	if diags.HasErrors() {
		return nil, fmt.Errorf("what is suggested is no configuration: %s", firstError(diags))
	}
	return next, nil
}

// firstError is what is wrong without its lines: they are those of a file that
// nobody has.
func firstError(diags hcl.Diagnostics) string {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			return d.Summary + ": " + d.Detail
		}
	}
	return diags.Error()
}

func (s *Suggested) rewrite(cfg *config.Config, kept []keptThreshold) (*config.Config, hcl.Diagnostics) {
	blocks := s.Blocks(func(name string) []string { return s.head(cfg, name, kept) })
	var text, more strings.Builder
	text.WriteString(s.Header())
	text.WriteString(s.differences())
	for i := range s.Groups {
		text.WriteString("\n" + blocks[s.Groups[i].Name])
		own := s.Groups[i].OwnBlocks()
		text.WriteString(own)
		more.WriteString(own)
	}
	s.HCL = string(hclwrite.Format([]byte(text.String())))
	return cfg.Rewrite(blocks, more.String(), config.ForReplay(), config.ByDefaultRule())
}

// suggests tells whether there are limits for a hostgroup, so that its block is
// written anew.
func (s *Suggested) suggests(group string) bool {
	return slices.ContainsFunc(s.Groups, func(g baseline.GroupSuggestion) bool { return g.Name == group })
}

// keptThreshold is a threshold that is not suggested and stays, since what others
// say rests on it.
type keptThreshold struct {
	group, name string
	by          []string // hostgroups that change or disable it
	source      string
}

// kept lists the thresholds of hostgroups with suggested limits that hostgroups
// without any change or disable: without them these would say nothing, or be
// wrong.
func (s *Suggested) kept(cfg *config.Config) (out []keptThreshold) {
	for _, g := range cfg.Groups {
		if s.suggests(g.Name) {
			continue
		}
		names, _ := cfg.OwnThresholds(g.Name)
		for b := g.Base; b != nil; b = b.Base {
			if !s.suggests(b.Name) {
				continue
			}
			_, sources := cfg.OwnThresholds(b.Name)
			for _, name := range names {
				if sources[name] == "" {
					continue
				}
				i := slices.IndexFunc(out, func(k keptThreshold) bool { return k.group == b.Name && k.name == name })
				if i < 0 {
					i = len(out)
					out = append(out, keptThreshold{group: b.Name, name: name, source: sources[name]})
				}
				out[i].by = append(out[i].by, "hostgroup."+g.Name)
			}
		}
	}
	return out
}

// standing lists the thresholds of all blocks that are not written anew.
func (s *Suggested) standing(cfg *config.Config) (out []string) {
	for _, g := range cfg.Groups {
		if !s.suggests(g.Name) {
			names, _ := cfg.OwnThresholds(g.Name)
			out = append(out, names...)
		}
	}
	return out
}

// rename gives suggested thresholds of taken names others, the same in all
// hostgroups, since one that inherits another changes its thresholds by name.
func (s *Suggested) rename(taken func(string) bool) {
	each := func(list []baseline.Threshold) {
		for i := range list {
			for taken(list[i].Name) {
				list[i].Name += "_suggested"
			}
		}
	}
	for i := range s.Groups {
		each(s.Groups[i].Thresholds)
		for j := range s.Groups[i].Own {
			each(s.Groups[i].Own[j].Thresholds)
		}
	}
}

// head is what stands in a hostgroup's block before what is suggested.
func (s *Suggested) head(cfg *config.Config, name string, kept []keptThreshold) []string {
	lines := cfg.GroupHead(name)
	for g := groupNamed(cfg, name).Base; g != nil; g = g.Base {
		if !s.suggests(g.Name) && len(g.Thresholds) > 0 {
			lines = append(lines, "# hostgroup."+g.Name+" is left as it is: its thresholds of other names hold here too.")
			break
		}
	}
	for _, k := range kept {
		if k.group == name {
			verb := " changes or disables it, and"
			if len(k.by) > 1 {
				verb = " change or disable it, and"
			}
			lines = append(lines, "", "# KEPT as it was: "+strings.Join(k.by, ", ")+verb+" nothing is suggested there. It holds here too.", k.source)
		}
	}
	return lines
}

// maxDifferences bounds the attacks that comments list.
const maxDifferences = 20

// differences tells in comments what else would fire, or would not any more.
func (s *Suggested) differences() string {
	var b strings.Builder
	n := 0
	for i := range s.Differences {
		d := &s.Differences[i]
		what := "still fires"
		switch {
		case len(d.Config) == 0:
			what = "NEW: fires"
		case len(d.Against) == 0:
			what = "NO LONGER fires"
		}
		if n++; n > maxDifferences {
			fmt.Fprintf(&b, "# ... and %d more; see replay --against\n", len(s.Differences)-maxDifferences)
			break
		}
		fmt.Fprintf(&b, "# %s: %s %s at %s\n", what, d.Name(), d.Direction, d.Start().UTC().Format("2006-01-02 15:04:05.0"))
	}
	return b.String()
}

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// reportRules are the ways to decide that the report compares, with what a
// hostgroup sets for them.
var reportRules = []struct{ name, settings string }{
	{"average alone", `burst = []`},
	{"7x1.5", `burst = ["7x1.5"]`},
	{"4x3", `burst = ["4x3"]`},
	{"2x8", `burst = ["2x8"]`},
	{"all three, the default", ``},
	{"FastNetMon Community's rule", `detection = "fastnetmon"`},
	{"half as long: 4x1.5, 2x3, 1x8", `burst = ["4x1.5", "2x3", "1x8"]`},
}

// reportBands are the strengths of attack whose delays are told apart.
var reportBands = []struct{ from, to float64 }{{2.1, 4}, {4, 10}, {10, 25}}

// BenchmarkReport replays the whole corpus with each rule and writes what was
// found, and how late by the packets' own time, into the files
// that FASTNETMON_REPORT names.
func BenchmarkReport(b *testing.B) {
	path := os.Getenv("FASTNETMON_REPORT")
	if path == "" {
		b.Skip("FASTNETMON_REPORT names no files to write into; make report does")
	}
	for b.Loop() {
		text := reportCorpus(b)
		if err := corpus.Quote(path, "corpus", text); err != nil {
			b.Fatal(err)
		}
		b.Log("\n" + text)
	}
}

func reportCorpus(b *testing.B) string {
	o := corpusOptions(b, 50)
	o.Linger = 2500 * time.Millisecond // for rules that decide once a second
	attacks, ordinary, twice := corpus.Attacks(o), corpus.Ordinary(o, 0.8, 20*time.Second), corpus.Ordinary(o, 2, 9*time.Second)
	attackFile, ordinaryFile, twiceFile := corpusFile(b, attacks), corpusFile(b, ordinary), corpusFile(b, twice)
	first := firstPackets(b, attacks)
	var text strings.Builder
	fmt.Fprintf(&text, "The corpus: %d attacks of %d kinds (%s), 2.1 to 25 times the limit, from idle or on 0.3 × the limit, and %d hosts of %d uses by the stated model (%s). "+
		"Frames of %.0f %% come from foreign tools and real attacks (%s), the others are generated. Seconds are from an attack's first packet, by the packets' own time; 99 of 100.\n\n",
		len(attacks.Instances), classes(attacks), named(attacks), len(ordinary.Instances), classes(ordinary), named(ordinary), foreign(attacks, ordinary), origins(attacks, ordinary))
	text.WriteString("| burst rules | attacks found | others | at 0.8 ×, taken for attacks | at 2 ×, found |")
	for _, band := range reportBands {
		fmt.Fprintf(&text, " %g to %g × |", band.from, band.to)
	}
	text.WriteString("\n|---|---|---|---|---|---|---|---|\n")
	for _, rule := range reportRules {
		config := corpusConfig(o, rule.settings)
		got := replayCorpus(b, attackFile, config)
		delays := make([][]time.Duration, len(reportBands))
		seen := takeAttacks(b, attacks, got, first, delays)
		wrong := len(replayCorpus(b, ordinaryFile, config))
		fired := replayCorpus(b, twiceFile, config)
		right := 0
		for n := range twice.Instances {
			if len(fired[key(eventTarget(&twice.Instances[n]), twice.Instances[n].Direction)]) > 0 {
				right++
			}
		}
		fmt.Fprintf(&text, "| %s | %d of %d | %d | %d of %d | %d of %d |", rule.name, seen, len(attacks.Instances), len(got),
			wrong, len(ordinary.Instances), right, len(twice.Instances))
		for n := range reportBands {
			fmt.Fprintf(&text, " %.2f s |", quantile(delays[n], 0.99).Seconds())
		}
		text.WriteString("\n")
	}
	return text.String()
}

// takeAttacks removes from what was found what the corpus has, sorts its delays
// by strength, and returns how many attacks that were.
func takeAttacks(tb testing.TB, c *corpus.Corpus, got found, first []time.Time, delays [][]time.Duration) (seen int) {
	tb.Helper()
	for n := range c.Instances {
		i := &c.Instances[n]
		k := key(eventTarget(i), i.Direction)
		events := got[k]
		delete(got, k)
		if len(events) == 0 {
			continue
		}
		seen++
		for band, r := range reportBands {
			if i.Multiple >= r.from && i.Multiple < r.to {
				delays[band] = append(delays[band], eventTime(tb, &events[0]).Sub(first[n]))
			}
		}
	}
	return seen
}

// firstPackets are when the attacks themselves begin.
func firstPackets(tb testing.TB, c *corpus.Corpus) []time.Time {
	tb.Helper()
	out := make([]time.Time, len(c.Instances))
	of := map[string]int{}
	for n := range c.Instances {
		i := &c.Instances[n]
		of[key(block(i.Target.Addr()), i.Direction)] = n
	}
	var start time.Time
	err := c.Scenario.Packets(func(p *gen.Packet) bool {
		at := time.Unix(0, p.Time)
		if start.IsZero() {
			start = at.Truncate(time.Second) // a scenario starts on a whole one
		}
		for _, side := range []struct {
			ours      netip.Addr
			direction gen.Direction
		}{{p.Record.DstAddr(), gen.Incoming}, {p.Record.SrcAddr(), gen.Outgoing}} {
			n, ok := of[key(block(side.ours), side.direction)]
			if ok && out[n].IsZero() && at.Sub(start) >= c.Instances[n].Start {
				out[n] = at
			}
		}
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// eachInstance calls with every instance of several corpora.
func eachInstance(do func(i *corpus.Instance), all ...*corpus.Corpus) {
	for _, c := range all {
		for n := range c.Instances {
			do(&c.Instances[n])
		}
	}
}

func distinct(of func(i *corpus.Instance) string, all ...*corpus.Corpus) (names []string) {
	seen := map[string]bool{}
	eachInstance(func(i *corpus.Instance) {
		if name := of(i); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}, all...)
	return names
}

func class(i *corpus.Instance) string { return i.Class }

func classes(c *corpus.Corpus) int { return len(distinct(class, c)) }

func named(c *corpus.Corpus) string {
	return strings.ReplaceAll(strings.Join(distinct(class, c), ", "), "_", " ")
}

func foreign(all ...*corpus.Corpus) (percent float64) {
	n, from := 0.0, 0.0
	eachInstance(func(i *corpus.Instance) {
		n++
		if i.Origin != corpus.Generated {
			from++
		}
	}, all...)
	return 100 * from / n
}

func origins(all ...*corpus.Corpus) string {
	var out []string
	for _, name := range distinct(func(i *corpus.Instance) string { return i.Origin }, all...) {
		if name != corpus.Generated {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// corpusOptions are small rates: what matters is their ratio to the limits.
func corpusOptions(tb testing.TB, each int) corpus.Options {
	return corpus.Options{Seed: 5, Each: each, Limit: 200, Prefix: 2000, Average: 5 * time.Second, Linger: 500 * time.Millisecond, Recorded: recordings(tb)}
}

// recordings are the foreign tools' frames, recorded once; none in a short run.
// In CI they must be there.
func recordings(tb testing.TB) corpus.Recordings {
	tb.Helper()
	if testing.Short() {
		return nil
	}
	missing := corpus.Missing()
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	if len(missing) > 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("foreign traffic cannot be recorded without %v", missing)
		}
		tb.Logf("generated traffic only: foreign tools' is missing without %v", missing)
		return nil
	}
	r, err := recorded(fixtures(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

var (
	recordOnce  sync.Once
	recordFound corpus.Recordings
	recordError error
)

func recorded(fixtures string) (corpus.Recordings, error) {
	recordOnce.Do(func() { recordFound, recordError = corpus.Record(context.Background(), fixtures) })
	return recordFound, recordError
}

// corpusConfig watches all that a corpus is made for; rules are a hostgroup's
// further settings.
func corpusConfig(o corpus.Options, rules string) string {
	return fmt.Sprintf(`
network "ours" {
  prefixes = [%q, %q]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "%v"
  %s

  threshold "flood" {
    pps = %v
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 120]
    pps           = %v
  }
}
`, corpus.Network4, corpus.Network6, o.Average, rules, o.Limit, o.Prefix)
}

// corpusFile writes a corpus' packets; detection needs no more than their
// heads.
func corpusFile(tb testing.TB, c *corpus.Corpus) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "corpus.pcap")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	const heads = 96
	if _, err := gen.WritePcapCut(f, c.Scenario, heads); err != nil {
		tb.Fatal(err)
	}
	return path
}

// found is the attacks that a replay told of, by direction and target.
type found map[string][]replayEvent

func key(target string, direction gen.Direction) string { return string(direction) + " " + target }

func replayCorpus(tb testing.TB, path, config string) found {
	tb.Helper()
	out := found{}
	for _, e := range parseEvents(tb, mustRun(tb, "replay", "--config", write(tb, "corpus.hcl", config), "--json", path).stdout) {
		if e.Event == "attack.started" {
			k := key(e.Target, gen.Direction(e.Direction))
			out[k] = append(out[k], e)
		}
	}
	return out
}

// eventTarget is how events name an instance's.
func eventTarget(i *corpus.Instance) string {
	if i.Target.IsSingleIP() {
		return i.Target.Addr().String()
	}
	return i.Target.String()
}

// tooLate is more than a flush and what follows it take of the packets' own
// time.
const tooLate = 100 * time.Millisecond

// corpusEach is how many instances of a class a test takes.
func corpusEach() int {
	if os.Getenv("FASTNETMON_SOAK") != "" {
		return 50
	}
	return 3
}

// Every attack is found once, for what it is aimed at, and nothing else is.
func TestCorpusAttacks(t *testing.T) {
	o := corpusOptions(t, corpusEach())
	c := corpus.Attacks(o)
	checkShares(t, c, o)
	got := replayCorpus(t, corpusFile(t, c), corpusConfig(o, ""))
	due := corpusDue(t, c, o)
	var behind []time.Duration
	for n := range c.Instances {
		i := &c.Instances[n]
		events := got[key(eventTarget(i), i.Direction)]
		delete(got, key(eventTarget(i), i.Direction))
		if len(events) != 1 {
			t.Errorf("%s: %v, %s %.1f × the limit on %g ×: %d attacks, want one", i.Name, i.Target, i.Direction, i.Multiple, i.Base, len(events))
			continue
		}
		late := eventTime(t, &events[0]).Sub(due[n])
		behind = append(behind, late)
		if due[n].IsZero() || late < -tooEarly || late > tooLate {
			t.Errorf("%s: %v, %s %.1f × the limit on %g ×: found %v after a packet-exact oracle (%v)", i.Name, i.Target, i.Direction, i.Multiple, i.Base, late, due[n])
		}
		if want := map[bool]string{true: "flood", false: "carpet"}[i.Target.IsSingleIP()]; events[0].Threshold != want {
			t.Errorf("%s: threshold %q, want %q", i.Name, events[0].Threshold, want)
		}
	}
	for k, events := range got {
		t.Errorf("%s was not attacked: %+v", k, events[0])
	}
	if len(behind) > 0 {
		t.Logf("%d attacks; after a packet-exact oracle p50 %v p99 %v, from %v to %v of the packets' time", len(c.Instances),
			quantile(behind, 0.5), quantile(behind, 0.99), quantile(behind, 0), quantile(behind, 1))
	}
}

// Ordinary traffic with bursts is no attack at 0.8 × the limit on average, and
// is one at twice the limit.
func TestCorpusOrdinary(t *testing.T) {
	o := corpusOptions(t, corpusEach())
	c := corpus.Ordinary(o, 0.8, 20*time.Second)
	checkShares(t, c, o)
	for k, events := range replayCorpus(t, corpusFile(t, c), corpusConfig(o, "")) {
		t.Errorf("%s (%s) is no attack: %+v", k, nameOf(c, k), events[0])
	}
	c = corpus.Ordinary(o, 2, 9*time.Second)
	got := replayCorpus(t, corpusFile(t, c), corpusConfig(o, ""))
	for n := range c.Instances {
		i := &c.Instances[n]
		if len(got[key(eventTarget(i), i.Direction)]) != 1 {
			t.Errorf("%s: %v at twice the limit: %d attacks, want one", i.Name, i.Target, len(got[key(eventTarget(i), i.Direction)]))
		}
	}
}

func nameOf(c *corpus.Corpus, k string) string {
	for n := range c.Instances {
		if strings.HasSuffix(k, " "+eventTarget(&c.Instances[n])) {
			return c.Instances[n].Name
		}
	}
	return "nobody's"
}

// checkShares holds the corpus against what it promises.
func checkShares(t *testing.T, c *corpus.Corpus, o corpus.Options) {
	t.Helper()
	classes, foreign := map[string]int{}, 0
	for n := range c.Instances {
		classes[c.Instances[n].Class]++
		if c.Instances[n].Origin != corpus.Generated {
			foreign++
		}
	}
	least := 10
	if c.Instances[0].Attack() {
		least = 15
	}
	share := float64(foreign) / float64(len(c.Instances))
	if len(classes) < least || o.Recorded != nil && share < 0.3 {
		t.Errorf("%d classes, %.0f %% of %d instances are foreign", len(classes), 100*share, len(c.Instances))
	}
	for class, n := range classes {
		if n != o.Each {
			t.Errorf("%d instances of %s", n, class)
		}
	}
	t.Logf("%d instances of %d classes, %.0f %% foreign", len(c.Instances), len(classes), 100*share)
}

// corpusDue is when a packet-exact oracle sees each attack.
func corpusDue(tb testing.TB, c *corpus.Corpus, o corpus.Options) []time.Time {
	tb.Helper()
	oracles := make([]packetOracle, len(c.Instances))
	due := make([]time.Time, len(c.Instances))
	of := map[string]int{}
	for n := range c.Instances {
		i := &c.Instances[n]
		oracles[n].limit = o.Limit
		if !i.Target.IsSingleIP() {
			oracles[n].limit = o.Prefix
		}
		of[key(block(i.Target.Addr()), i.Direction)] = n
	}
	err := c.Scenario.Packets(func(p *gen.Packet) bool {
		if corpus.Network4.Contains(p.Record.SrcAddr()) && corpus.Network4.Contains(p.Record.DstAddr()) {
			return true // foreign tools draw sources from everywhere: internal traffic is not counted
		}
		n, ours := of[key(block(p.Record.DstAddr()), gen.Incoming)]
		if !ours {
			n, ours = of[key(block(p.Record.SrcAddr()), gen.Outgoing)]
		}
		if ours && due[n].IsZero() && oracles[n].packet(p.Time) {
			due[n] = time.Unix(0, p.Time)
		}
		return true
	})
	if err != nil {
		tb.Fatal(err)
	}
	return due
}

// block is the prefix that an instance has to itself.
func block(a netip.Addr) string {
	p, _ := a.Prefix(a.BitLen() - 8)
	return p.String()
}

func eventTime(tb testing.TB, e *replayEvent) time.Time {
	tb.Helper()
	at, err := time.Parse(time.RFC3339Nano, e.Time)
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

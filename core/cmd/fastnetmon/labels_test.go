package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// labelled is what an event says of a label.
type labelled struct {
	Event, Target, Direction, Label string
	Evidence                        struct {
		Reasons []string
		Parts   []struct{ Label string }
	}
}

// labels are the last words of a replay on each attack.
func labels(t *testing.T, c *corpus.Corpus, o corpus.Options) map[string]labelled {
	t.Helper()
	out := map[string]labelled{}
	config := write(t, "labels.hcl", corpusConfig(o, ""))
	for line := range strings.Lines(mustRun(t, "replay", "--config", config, "--json", corpusFile(t, c)).stdout) {
		var e labelled
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Event == "attack.ended" {
			out[key(e.Target, gen.Direction(e.Direction))] = e
		}
	}
	return out
}

// At least 95 of 100 attacks of the corpus get their label, through the whole
// replay, and ordinary traffic at twice the limit is never called a reflection.
// The confusion matrix is printed with -v.
func TestCorpusLabels(t *testing.T) {
	o := corpusOptions(t, corpusEach())
	c, m, right := corpus.Attacks(o), corpus.Confusion{}, 0
	got := labels(t, c, o)
	for n := range c.Instances {
		i := &c.Instances[n]
		e := got[key(eventTarget(i), i.Direction)]
		m.Add(i.Class, e.Label)
		if e.Label == i.Label {
			right++
		} else {
			t.Logf("%s, %s %.1f × the limit on %g ×: %q, %q", i.Name, i.Direction, i.Multiple, i.Base, e.Label, e.Evidence.Reasons)
		}
	}
	t.Logf("%d of %d attacks\n%v", right, len(c.Instances), m)
	if float64(right) < 0.95*float64(len(c.Instances)) {
		t.Errorf("%d of %d attacks are labelled right, want 95 %%", right, len(c.Instances))
	}
	c, m = corpus.Ordinary(o, 2, 9*time.Second), corpus.Confusion{}
	got = labels(t, c, o)
	for n := range c.Instances {
		i := &c.Instances[n]
		e := got[key(eventTarget(i), i.Direction)]
		m.Add(i.Class, e.Label)
		bad := strings.HasSuffix(e.Label, "_reflection")
		for _, p := range e.Evidence.Parts {
			bad = bad || e.Label == "mixed" && strings.HasSuffix(p.Label, "_reflection")
		}
		if bad {
			t.Errorf("%s is called %s: %q", i.Name, e.Label, e.Evidence.Reasons)
		}
	}
	t.Logf("ordinary traffic\n%v", m)
}

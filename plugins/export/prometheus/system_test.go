package main

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// shownSystem sends metrics and returns how many series there are and how
// many were not usable.
func shownSystem(metrics []sdk.Metric) (sent, invalid int) {
	b := &batch{out: make(chan prometheus.Metric, 10*len(metrics)+10), room: 1000}
	addSystem(b, metrics)
	return b.sent, b.invalid
}

func TestSystemNames(t *testing.T) {
	for name, want := range map[string]systemName{
		"hosts":                   {name: "hosts"},
		"x_total:plugin=a.b.c":    {name: "x_total", keys: []string{"plugin"}, values: []string{"a.b.c"}},
		"x:a=1,b=two words=three": {name: "x", keys: []string{"a", "b"}, values: []string{"1", "two words=three"}},
		"x:a=":                    {name: "x", keys: []string{"a"}, values: []string{""}},
		"x_bucket:le=0.5,a=1":     {name: "x", keys: []string{"a"}, values: []string{"1"}, le: "0.5", bucket: true},
		"x_bucket":                {name: "x_bucket"},
	} {
		got, ok := parseSystemName(name)
		if !ok || got.id(got.name) != want.id(want.name) || got.le != want.le || got.bucket != want.bucket {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
	for _, name := range []string{
		"", ":", "Hosts", "a b", "a-b", "ä", "_a", "9a", "x:", "x:a", "x:=1", "x:a=1,", "x:a=1,a=2", "x:A=1", "x:le=1", "_bucket:le=1",
		"x_bucket:le=1,le=2", strings.Repeat("x", maxName+1), "x:a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1", "x\n# TYPE y counter", `x{a="1"}`,
	} {
		if got, ok := parseSystemName(name); ok {
			t.Errorf("%q was taken for %+v", name, got)
		}
	}
}

func TestSystemValues(t *testing.T) {
	for _, c := range []struct {
		name          string
		value         float64
		sent, invalid int
	}{
		{"a", -1, 1, 0},
		{"a", math.NaN(), 0, 1},
		{"a", math.Inf(1), 0, 1},
		{"a_total", 1, 1, 0},
		{"a_total", -1, 0, 1},
		{"a_sum", 1, 1, 0}, // of no histogram
		{"a:l=\xff", 1, 1, 0},
	} {
		if sent, invalid := shownSystem([]sdk.Metric{{Name: c.name, Value: c.value}}); sent != c.sent || invalid != c.invalid {
			t.Errorf("%s %v: %d sent and %d invalid", c.name, c.value, sent, invalid)
		}
	}
}

func TestHistograms(t *testing.T) {
	type parts map[string]float64
	for _, c := range []struct {
		name          string
		parts         parts
		sent, invalid int
	}{
		{"whole", parts{"x_bucket:le=1": 2, "x_bucket:le=2": 3, "x_bucket:le=+Inf": 4, "x_count": 4, "x_sum": 5}, 5, 0},
		{"count from the last bucket", parts{"x_bucket:le=1": 2, "x_bucket:le=+Inf": 4, "x_sum": 5}, 4, 0},
		{"last bucket from the count", parts{"x_bucket:le=1": 2, "x_count": 4, "x_sum": 5}, 4, 0},
		{"labels in any order", parts{"x_bucket:le=1,a=1,b=2": 2, "x_count:b=2,a=1": 4, "x_sum:a=1,b=2": 5}, 4, 0},
		{"two", parts{"x_bucket:le=1,a=1": 2, "x_count:a=1": 4, "x_bucket:a=2,le=1": 2, "x_count:a=2": 4}, 8, 0},
		{"no count", parts{"x_bucket:le=1": 2, "x_sum": 5}, 0, 2},
		{"buckets fall", parts{"x_bucket:le=1": 3, "x_bucket:le=2": 2, "x_count": 4}, 0, 3},
		{"buckets above count", parts{"x_bucket:le=1": 5, "x_count": 4}, 0, 2},
		{"count is not the last bucket", parts{"x_bucket:le=1": 3, "x_bucket:le=+Inf": 5, "x_count": 4}, 0, 3},
		{"no bound", parts{"x_bucket:le=fast": 3, "x_count": 4}, 0, 2},
		{"a bound twice", parts{"x_bucket:le=1": 3, "x_bucket:le=1.0": 3, "x_count": 4}, 0, 3},
		{"half a value", parts{"x_bucket:le=1": 1.5, "x_count": 4}, 0, 2},
		{"no number", parts{"x_bucket:le=1": math.NaN(), "x_count": 4}, 0, 2},
		{"infinite sum", parts{"x_bucket:le=1": 1, "x_count": 4, "x_sum": math.Inf(1)}, 0, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var metrics []sdk.Metric
			for name, v := range c.parts {
				metrics = append(metrics, sdk.Metric{Name: name, Value: v})
			}
			if sent, invalid := shownSystem(metrics); sent != c.sent || invalid != c.invalid {
				t.Errorf("%d sent and %d invalid, want %d and %d", sent, invalid, c.sent, c.invalid)
			}
		})
	}
}

// Whatever a name is, the scrape can be parsed and keeps its limit.
func FuzzSystem(f *testing.F) {
	for _, s := range []string{"hosts", "x_total:plugin=a", "x_bucket:le=1\nx_count", "x_bucket:le=0\nx_bucket:le=+Inf\nx_sum", "x:a=\"\\", "hosts_total\nhosts_total", "deltas\ndeltas_total"} {
		f.Add(s, 1.0)
	}
	f.Fuzz(func(t *testing.T, names string, v float64) {
		var metrics []sdk.Metric
		for name := range strings.SplitSeq(names, "\n") {
			metrics = append(metrics, sdk.Metric{Name: name, Value: v})
		}
		const room = 20
		out := make(chan prometheus.Metric, room)
		b := &batch{out: out, room: room}
		addSystem(b, metrics)
		close(out)
		registry := prometheus.NewRegistry()
		registry.MustRegister(replay{out})
		families, err := registry.Gather()
		n := 0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				n++
				if h := m.GetHistogram(); h != nil {
					n += len(h.GetBucket()) + 2
				}
			}
		}
		if n > b.sent || b.sent > room || err == nil && n != b.sent {
			t.Errorf("%d series, %d said to be sent, room for %d: %v", n, b.sent, room, err)
		}
	})
}

// replay is a collector of metrics made before.
type replay struct{ metrics chan prometheus.Metric }

func (replay) Describe(chan<- *prometheus.Desc) {}

func (r replay) Collect(out chan<- prometheus.Metric) {
	for m := range r.metrics {
		out <- m
	}
}

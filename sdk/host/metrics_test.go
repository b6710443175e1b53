package host

import (
	"math"
	"strings"
	"testing"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// What is badly named, no number or there twice is not heard.
func TestMetricsOfPlugin(t *testing.T) {
	var in []*pb.Metric
	add := func(name string, v float64) { in = append(in, &pb.Metric{Name: name, Value: v}) }
	good := []string{"lag_seconds", "delivered_total:of=events", "dropped_total:of=events,reason=store full", "a9:b=", "x:a=1=2"}
	for i, name := range good {
		add(name, float64(i))
	}
	for _, name := range []string{
		"", "Big", "9a", "a-b", "a:", "a:b", "a:b=1,", "a:b=1,a=2", "a:b=1,b=2", "a:plugin=x", "a:le=1", "a:B=1", "lag_seconds",
		"a:b=\n", "a:b=" + strings.Repeat("x", 300),
	} {
		add(name, 1)
	}
	add("nan", math.NaN())
	add("inf", math.Inf(1))
	out := metricsFromProto(in)
	if len(out) != len(good) {
		t.Fatalf("%v", out)
	}
	for i, m := range out {
		if m.Name != good[i] || m.Value != float64(i) {
			t.Errorf("%d: %+v", i, m)
		}
	}
	for range 1000 {
		add("more", 1)
	}
	if out := metricsFromProto(in); len(out) > 64 {
		t.Errorf("%d are heard", len(out))
	}
}

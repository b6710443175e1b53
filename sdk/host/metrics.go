package host

import (
	"math"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// metricsFromProto takes what a plugin says of itself, without what is badly
// named, not finite, or there already.
func metricsFromProto(in []*pb.Metric) (out []sdk.Metric) {
	seen := map[string]bool{}
	for _, m := range in[:min(len(in), wire.MaxMetrics)] {
		name, v := m.GetName(), m.GetValue()
		if seen[name] || !metricName(name) || math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		seen[name] = true
		out = append(out, sdk.Metric{Name: name, Value: v})
	}
	return out
}

// metricName tells whether a name is as sdk.Metrics asks for. Keys in order make
// equal names equal texts.
func metricName(s string) bool {
	name, labels, labelled := strings.Cut(s, ":")
	if len(s) > wire.MaxMetricName || !word(name) || wire.Clean(s, len(s)) != s || strings.ContainsAny(s, "\n\t") {
		return false
	}
	last := ""
	for more := labelled; more; {
		var label string
		label, labels, more = strings.Cut(labels, ",")
		key, _, found := strings.Cut(label, "=")
		if !found || !word(key) || key <= last || key == "plugin" || key == "le" {
			return false
		}
		last = key
	}
	return true
}

// word tells names of small letters, digits and underscores, a letter first.
func word(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

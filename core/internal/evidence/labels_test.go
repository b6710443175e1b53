package evidence

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// The SDK names every label there is, for actions that go by them, and no
// other.
func TestLabelsOfSDK(t *testing.T) {
	ours := map[string]bool{labelFragments: true, labelCarpet: true, labelMixed: true, labelUnknown: true}
	for _, v := range vectors {
		ours[v.label] = true
	}
	for _, c := range counterLabels {
		ours[c.label] = true
	}
	for _, label := range counterNames {
		ours[label] = true
	}
	got, want := slices.Sorted(slices.Values(sdk.Labels())), slices.Sorted(maps.Keys(ours))
	if !slices.Equal(got, want) {
		t.Errorf("sdk.Labels() has\n%q\nbut evidence finds\n%q", got, want)
	}
}

// A flow-spec rule by label matches the ports by which the label is given.
func TestPortsOfRules(t *testing.T) {
	ports := map[string][]uint64{}
	for _, v := range vectors {
		for _, p := range v.services {
			ports[v.label] = append(ports[v.label], uint64(p))
		}
	}
	for label, want := range ports {
		var got []uint64
		for _, r := range flowspec.ForEvent(&sdk.Event{Label: label, Target: netip.MustParsePrefix("203.0.113.5/32"), Direction: "incoming"}) {
			for _, s := range r.Numeric[flowspec.SourcePort] {
				for p := s.Low; p <= s.High; p++ {
					got = append(got, p)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: evidence looks for the ports %d, flow-spec rules match %d", label, want, got)
		}
	}
}

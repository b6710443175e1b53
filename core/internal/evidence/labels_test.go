package evidence

import (
	"maps"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
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

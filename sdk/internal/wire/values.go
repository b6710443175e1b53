package wire

import (
	"maps"
	"slices"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// ValuesToProto orders attributes by name, so that equal ones have equal bytes.
func ValuesToProto(attributes map[string][]string) []*pb.Values {
	var out []*pb.Values
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		out = append(out, &pb.Values{Name: name, Values: attributes[name]})
	}
	return out
}

// ValuesFromProto is the inverse; nil if there are none.
func ValuesFromProto(in []*pb.Values) map[string][]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string][]string, len(in))
	for _, v := range in {
		out[v.GetName()] = v.GetValues()
	}
	return out
}

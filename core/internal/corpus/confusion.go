package corpus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Confusion counts which labels were given to what was there.
type Confusion map[string]map[string]int

// Add counts one.
func (m Confusion) Add(was, label string) {
	if m[was] == nil {
		m[was] = map[string]int{}
	}
	m[was][label]++
}

// String prints the matrix, a row each.
func (m Confusion) String() string {
	var b strings.Builder
	for _, was := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%-28s", was)
		for _, label := range slices.Sorted(maps.Keys(m[was])) {
			fmt.Fprintf(&b, "  %s %d", label, m[was][label])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

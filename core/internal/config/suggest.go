package config

import (
	"sort"
	"strings"
)

// nearest returns the name among the candidates that somebody who wrote given
// most likely meant, or "".
func nearest(given string, candidates []string) string {
	if len(given) > 64 {
		return ""
	}
	best, bestDist := "", 1+max(1, len(given)/3)
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	for _, c := range sorted {
		if c == given || len(c) > 64 {
			continue
		}
		if d := distance(strings.ToLower(given), strings.ToLower(c), bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment), or limit if there
// are as many or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit)
}

// nearest is the package's nearest, but gives up once more faults were found
// than are shown: hostile input is not to cost more than that.
func (l *loader) nearest(given string, candidates []string) string {
	if len(l.diags) > maxDiagnostics {
		return ""
	}
	return nearest(given, candidates)
}

// meant is a sentence for the nearest name, with a leading space, or "".
func (l *loader) meant(given string, candidates []string, quote bool) string {
	n := l.nearest(given, candidates)
	switch {
	case n == "":
		return ""
	case quote:
		return ` Did you mean "` + n + `"?`
	}
	return " Did you mean " + n + "?"
}

// list joins names for a sentence: "a, b or c".
func list(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// quoted joins names in quotes: "a", "b" or "c".
func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = `"` + n + `"`
	}
	return list(q)
}

// sortedKeys lists a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

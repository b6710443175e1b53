package afpacket

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// absent says that there is no interface of a name, and which there are.
func absent(name string, names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	text := fmt.Sprintf("there is no interface %q", name)
	best, least := "", max(2, len(name)/2)+1
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	if best != "" {
		text += fmt.Sprintf("; did you mean %q?", best)
	}
	if len(names) == 0 {
		return text
	}
	return text + " There are: " + strings.Join(names[:min(len(names), 20)], ", ")
}

// distance is how many octets are to be added, taken away or changed to make
// one name of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, corner+cost)
		}
	}
	return row[len(b)]
}

// parseCPUs reads a list of processors as Linux writes it: "0-3,8".
func parseCPUs(text string) (out []int) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil
		}
		to := from
		if ranged {
			if to, err = strconv.Atoi(last); err != nil || to < from || to-from > 4096 {
				return nil
			}
		}
		for c := from; c <= to; c++ {
			out = append(out, c)
		}
	}
	return out
}

package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Burst is a burst rule: it holds when the sums of Ticks consecutive ticks of
// 100 ms are all above Factor times the limit.
type Burst struct {
	Ticks  uint8
	Factor float64
}

// String writes a rule as events do.
func (b Burst) String() string { return fmt.Sprintf("%dx%g", b.Ticks, b.Factor) }

// DefaultBurst are the rules of a hostgroup that says nothing about them.
func DefaultBurst() []Burst { return []Burst{{7, 1.5}, {4, 3}, {2, 8}} }

const (
	maxBursts      = 3    // rules of a limit
	maxBurstTicks  = 15   // the engine counts runs in four bits
	maxBurstFactor = 1000 // times the limit
)

// bursts reads burst rules such as "7x1.5". It is nil where the attribute is
// not set, and empty where no rule is wanted.
func (b body) bursts(name string) []Burst {
	texts, items, n := b.strs(name)
	if n < 0 {
		return nil
	}
	out := []Burst{}
	for k, s := range texts {
		r, err := parseBurst(s)
		switch {
		case err != nil:
			b.l.errorf(items[k].at, "Invalid burst rule", "%s is not a burst rule: %s.", items[k].text(), items[k].discreet(err, "write ticks and factor as \"7x1.5\""))
		case len(out) == maxBursts:
			b.l.errorf(items[k].at, "Too many burst rules", "A limit has at most %d burst rules; %s is one too many. Remove one.", maxBursts, items[k].text())
			return out
		default:
			out = append(out, r)
		}
	}
	return out
}

func parseBurst(s string) (Burst, error) {
	ticks, factor, ok := strings.Cut(s, "x")
	t, err1 := strconv.ParseUint(ticks, 10, 8)
	f, err2 := strconv.ParseFloat(factor, 64)
	switch {
	case !ok || err1 != nil || err2 != nil || len(s) > 32 || math.IsNaN(f):
		return Burst{}, fmt.Errorf("write the number of 100-ms ticks in a row and how many times the limit each must be above, as \"7x1.5\"")
	case t < 1 || t > maxBurstTicks:
		return Burst{}, fmt.Errorf("the number of ticks must be from 1 to %d; what lasts longer the average sees", maxBurstTicks)
	case f < 1 || f > maxBurstFactor:
		return Burst{}, fmt.Errorf("the factor must be from 1 to %d, since a rule must not fire below the limit", maxBurstFactor)
	}
	return Burst{uint8(t), f}, nil
}

// burstList writes rules as the language reads them.
func burstList(rules []Burst) string {
	var texts []string
	for _, r := range rules {
		texts = append(texts, strconv.Quote(r.String()))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

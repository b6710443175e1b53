package exporter

import (
	"slices"
	"sync"
	"sync/atomic"
)

const (
	maxNames    = 4096 // interfaces of one exporter whose names are kept
	maxNameSize = 128  // octets
)

// filter is what of an exporter counts; it is replaced when a name is learned.
type filter struct {
	count      string
	restricted bool   // some interfaces are included: only these count
	include    []span // sorted, apart from each other
	exclude    []span
	missing    int // names of the block that the exporter has not told yet
}

// filter makes an exporter's filter from its block and the names it told; nil
// where everything counts.
func (b *block) filter(told map[string][]uint32) *filter {
	if b.Count == "" && len(b.Interfaces) == 0 {
		return nil
	}
	f := &filter{count: b.Count, restricted: b.restricted}
	include, exclude := slices.Clone(b.include), slices.Clone(b.exclude)
	for name, in := range b.names {
		if len(told[name]) == 0 {
			f.missing++
		}
		for _, n := range told[name] {
			if in {
				include = append(include, span{n, n})
			} else {
				exclude = append(exclude, span{n, n})
			}
		}
	}
	f.include, f.exclude = merged(include), merged(exclude)
	return f
}

// merged sorts spans and joins those that overlap.
func merged(in []span) (out []span) {
	slices.SortFunc(in, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	for _, s := range in {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

func contains(spans []span, n uint32) bool {
	low, high := 0, len(spans)
	for low < high {
		mid := int(uint(low+high) >> 1)
		switch {
		case n < spans[mid].from:
			high = mid
		case n > spans[mid].to:
			low = mid + 1
		default:
			return true
		}
	}
	return false
}

// Filtered reports whether Wanted can say no: whether it needs to be asked.
func (e *Exporter) Filtered() bool { return e.filter.Load() != nil }

// Wanted reports whether a record counts by the exporter's block: it was
// metered in the wanted direction, its input or output interface is among
// those included (if any are), and neither is excluded. Else cause is for the
// ledger: CauseDirection or CauseInterface. egress says that the record was
// metered where the packets left.
func (e *Exporter) Wanted(in, out uint32, egress bool) (ok bool, cause string) {
	f := e.filter.Load()
	switch {
	case f == nil:
		return true, ""
	case f.count == CountIngress && egress, f.count == CountEgress && !egress:
		return false, CauseDirection
	case f.restricted && !contains(f.include, in) && !contains(f.include, out):
		return false, CauseInterface
	case len(f.exclude) > 0 && (contains(f.exclude, in) || contains(f.exclude, out)):
		return false, CauseInterface
	}
	return true, ""
}

// names are the names of an exporter's interfaces that its block asks for:
// the others are of no use.
type names struct {
	mu    sync.Mutex
	told  map[uint32]string
	stale atomic.Bool // the filter lacks what was told last
}

// fewNames may be told without delay: more wait for the next tick, lest
// whoever forges options make us build the filter anew all the time.
const fewNames = 16

// Interface takes an interface's name that the exporter's options tell. Names
// that its block does not mention are not kept.
func (e *Exporter) Interface(index uint32, name string) {
	if e.block == nil || len(e.block.names) == 0 || name == "" || len(name) > maxNameSize {
		return
	}
	n := &e.names
	n.mu.Lock()
	defer n.mu.Unlock()
	_, asked := e.block.names[name]
	old, known := n.told[index]
	if old == name || !asked && !known || e.Gone() {
		return
	}
	switch {
	case !asked:
		delete(n.told, index)
		e.set.learned.Add(-1)
	case !known && (len(n.told) >= maxNames || e.set.learned.Load() >= maxLearnedAll):
		return
	case !known:
		if n.told == nil {
			n.told = map[uint32]string{}
		}
		e.set.learned.Add(1)
		fallthrough
	default:
		n.told[index] = name
	}
	if n.stale.Store(true); len(n.told) <= fewNames {
		e.refilter()
	}
}

// refilter makes the filter from the names told; the caller holds the lock.
func (e *Exporter) refilter() {
	e.names.stale.Store(false)
	byName := map[string][]uint32{}
	for i, name := range e.names.told {
		byName[name] = append(byName[name], i)
	}
	e.filter.Store(e.block.filter(byName))
}

// forget drops the names and returns how many there were.
func (n *names) forget() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := len(n.told)
	n.told = nil
	return k
}

package count

import (
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/cache"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// A flow that lasts is cut into records at the exporter's active timeout. Each
// counts forward until the next one should be there; when that comes earlier
// or later, which exporters do by a second and more, both would count at a
// time, or none. So a cut flow begins to count a second late, and its next
// record where the one before ends. Its time then is stretched or shortened a
// little, so that the next may again come a second early or late.
const (
	followSlack = 1000 // ms: how late the first record of a cut flow begins
	followEarly = 3000 // ms before the end of the last record that the next may come
	followLate  = 2000 // ms after it
	cutMargin   = 2000 // ms by which a record that was cut may differ from the active timeout
	stretch     = 64   // a record's time changes by at most a 64th
)

// follower knows until when cut flows count. It forgets flows when it has no
// room: then the next record begins when it comes. A slot is 40 bits of the
// flow's hash above 24 bits of its end in milliseconds.
type follower struct {
	slots []uint64
	seed  flowSeed
	used  int // slots filled since the last growth
}

const (
	followLine     = 8
	minFollow      = 1 << 10
	maxFollow      = 1 << 20
	followTimeBits = 24
	followTimeMask = 1<<followTimeBits - 1
)

// line returns the slots in which a flow may be.
func (f *follower) line(hash uint64) *[followLine]uint64 {
	n := int(hash>>followTimeBits) & (len(f.slots)/followLine - 1)
	return (*[followLine]uint64)(f.slots[n*followLine:])
}

// ahead is how far a slot's end lies ahead of now, in milliseconds.
func ahead(slot uint64, now int64) int64 {
	const shift = 64 - followTimeBits
	return int64(slot-uint64(now)) << shift >> shift
}

// end tells until when the flow's last record counts. It is false where there
// is none, or none that now follows.
func (f *follower) end(hash uint64, now int64) (int64, bool) {
	if f.used == 0 {
		return 0, false
	}
	for _, slot := range f.line(hash) {
		if slot>>followTimeBits == hash>>followTimeBits && slot != 0 {
			d := ahead(slot, now)
			return now + d, d <= followEarly && d >= -followLate
		}
	}
	return 0, false
}

// note remembers until when a flow counts. A full line forgets the flow that
// ends first.
func (f *follower) note(hash uint64, end, now int64) {
	if f.used >= len(f.slots)/2 && len(f.slots) < maxFollow {
		f.grow(now)
	}
	f.put(hash&^followTimeMask|uint64(end)&followTimeMask, now)
}

func (f *follower) put(slot uint64, now int64) {
	line := f.line(slot)
	victim := &line[0]
	for i := range line {
		s := &line[i]
		if *s>>followTimeBits == slot>>followTimeBits {
			*s = slot
			return
		}
		switch {
		case *victim == 0:
		case *s == 0, ahead(*s, now) < ahead(*victim, now):
			victim = s
		}
	}
	if *victim == 0 {
		f.used++
	}
	*victim = slot
}

// grow makes the set larger, unless what it holds is over.
func (f *follower) grow(now int64) {
	old := f.slots
	live := 0
	for _, s := range old {
		if s != 0 && ahead(s, now) >= -followLate {
			live++
		}
	}
	size := max(len(old), minFollow)
	if 4*live >= size {
		size *= 2
	}
	f.slots, f.used = make([]uint64, size), 0
	for _, s := range old {
		if s != 0 && ahead(s, now) >= -followLate {
			f.put(s, now)
		}
	}
}

// prefetch asks for the lines in which a batch's flows are looked for. They
// are anywhere in a set that no cache holds.
func (s *smearer) prefetch(batch []traffic.Record) {
	if s.follow.used == 0 {
		return
	}
	var lines [16]uintptr
	n := 0
	for i := range batch {
		r := &batch[i]
		if r.Marks&traffic.MarkFlow == 0 || r.DurationMs <= atOnce || r.Spread <= 1 {
			continue
		}
		line := s.follow.line(s.follow.hash(r, load(r, &r.Src), load(r, &r.Dst)))
		lines[n] = uintptr(unsafe.Pointer(line))
		if n++; n == len(lines) {
			cache.Prefetch(lines[:])
			n = 0
		}
	}
	cache.Prefetch(lines[:n])
}

// hash tells a flow of an exporter.
func (f *follower) hash(r *traffic.Record, src, dst addr) uint64 {
	return f.seed.hash(r, src, dst) + uint64(r.Exporter)<<40
}

// smearWindow is when a record counts, in ticks, and how much of it.
type smearWindow struct {
	start, end  int64
	part, whole uint64
}

// window decides when a record counts that comes at a time in milliseconds. A
// record that is a little longer than its exporter's timeout was cut, too: it
// counts in whole. Of any longer one the Spread's share counts.
func (s *smearer) window(r *traffic.Record, src, dst addr, now int64) smearWindow {
	d, most := int64(r.DurationMs), int64(r.Spread)*1000
	cut := d >= most-cutMargin && d <= most+cutMargin
	last := d
	w := smearWindow{part: 1, whole: 1}
	if d > most && !cut {
		last = most
		w.part, w.whole = uint64(most), uint64(d)
	}
	start := now
	var hash uint64
	if cut || s.follow.used > 0 {
		hash = s.follow.hash(r, src, dst)
		if end, ok := s.follow.end(hash, now); ok {
			start = max(end, now-last/2)
			last += max(min((followSlack-(start-now))/2, last/stretch), -last/stretch)
		} else if cut {
			start += followSlack
		}
	}
	if cut {
		s.follow.note(hash, start+last, now)
	}
	w.start, w.end = start/FlushTick, (start+last)/FlushTick
	if w.end <= w.start {
		w.end = w.start + 1
	}
	return w
}

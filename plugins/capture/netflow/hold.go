package main

import (
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// What waits for its template, in all workers together and of one exporter.
const (
	holdTime     = 30 * time.Second
	holdOctets   = 64 << 20
	holdExporter = 8 << 20
	heldOverhead = 400 + slack // octets, about, that a held set takes beside its content
)

// held is a set of data records whose template has not come yet.
type held struct {
	key          holdKey
	data         []byte // the set's content behind margin octets, and room for a window behind it
	at           int64  // monotonic nanoseconds
	wall         int64
	export, boot int64
	uptime       uint32
	newer, older *held // in order of time
	next         *held // of the same key, the next one
}

type holdKey struct {
	dom *domain
	set uint16
}

// queue is the first and the last set of a key.
type queue struct{ first, last *held }

// hold keeps sets of one worker until their templates come. The octets that
// all workers' holds keep are counted together.
type hold struct {
	octets *atomic.Int64
	keys   map[holdKey]*queue
	of     map[*domain]*waiting
	oldest *held
	newest *held
}

// waiting is what waits of one exporter.
type waiting struct {
	e      *exporter.Exporter
	octets int
	seen   uint32 // revision of its templates when last looked at
}

func newHold(octets *atomic.Int64) *hold {
	return &hold{octets: octets, keys: map[holdKey]*queue{}, of: map[*domain]*waiting{}}
}

func (h *held) size() int { return len(h.data) + heldOverhead }

// keep holds a set whose template is not known.
func (d *decoder) keep(msg []byte, id uint16, from, to int) {
	s := d.src
	s.e.TemplateMissing(1)
	h := d.hold
	x := &held{
		key: holdKey{s.dom, id}, data: make([]byte, margin+to-from, margin+to-from+slack), at: d.now, wall: d.wall,
		export: s.export, boot: s.boot, uptime: s.uptime,
	}
	copy(x.data[margin:], msg[from:to])
	if w := h.of[s.dom]; w != nil && w.octets+x.size() > d.store.bounds.heldExporter {
		d.lost[lostHoldFull]++
		return
	}
	for h.octets.Add(int64(x.size())) > d.store.bounds.held {
		h.octets.Add(-int64(x.size()))
		if h.oldest == nil { // other workers hold it all
			d.lost[lostHoldFull]++
			return
		}
		h.drop(h.oldest)
		d.lost[lostHoldFull]++
	}
	w := h.of[s.dom] // not before: the last of this exporter's may have been dropped
	if w == nil {
		w = &waiting{e: s.e, seen: s.dom.revision.Load()}
		h.of[s.dom] = w
	}
	w.octets += x.size()
	h.append(x)
}

func (h *hold) append(x *held) {
	if h.newest != nil {
		h.newest.newer, x.older = x, h.newest
	} else {
		h.oldest = x
	}
	h.newest = x
	if q := h.keys[x.key]; q != nil {
		q.last.next, q.last = x, x
		return
	}
	h.keys[x.key] = &queue{x, x}
}

// unlink takes x, which is the first of its key, out of the order of time.
func (h *hold) unlink(x *held) {
	if x.older != nil {
		x.older.newer = x.newer
	} else {
		h.oldest = x.newer
	}
	if x.newer != nil {
		x.newer.older = x.older
	} else {
		h.newest = x.older
	}
	x.older, x.newer = nil, nil
	h.octets.Add(-int64(x.size()))
	w := h.of[x.key.dom]
	if w.octets -= x.size(); w.octets <= 0 {
		delete(h.of, x.key.dom)
	}
}

// drop forgets the oldest set of all, which is the first of its key too.
func (h *hold) drop(x *held) {
	q := h.keys[x.key]
	if q.first = x.next; q.first == nil {
		delete(h.keys, x.key)
	}
	h.unlink(x)
}

// take returns what waits under a key, in order of time, and forgets it.
func (h *hold) take(k holdKey) *held {
	q := h.keys[k]
	if q == nil {
		return nil
	}
	delete(h.keys, k)
	for x := q.first; x != nil; x = x.next {
		h.unlink(x)
	}
	return q.first
}

// replay decodes what has waited for a template of the current source.
func (d *decoder) replay(id uint16) {
	s := d.src
	t := s.dom.table.Load().find(id)
	if t == nil {
		return
	}
	export, boot, uptime, records, wall := s.export, s.boot, s.uptime, d.records, s.base.Time
	x := d.hold.take(holdKey{s.dom, id})
	if x != nil && d.now-x.at > lateSpread*int64(time.Second) {
		s.late = uint32(min((d.now-x.at)/int64(time.Millisecond), 1<<30))
	}
	for ; x != nil; x = x.next {
		s.begin(x.export, x.uptime)
		s.boot, s.base.Time = x.boot, x.wall
		d.data(x.data, margin, len(x.data), t)
	}
	s.late = 0
	s.begin(export, uptime)
	s.boot, s.base.Time = boot, wall
	s.e.Records(int(d.records - records))
	d.records = records // they were not of this message
}

// tick gives up sets that have waited for too long, and decodes those whose
// templates have come some other way: from another worker, or from the same
// device's former port. Call it about once a second.
func (d *decoder) tick(now int64) {
	d.now = now
	h := d.hold
	for h.oldest != nil && now-h.oldest.at >= int64(holdTime) {
		h.drop(h.oldest)
		d.lost[lostNoTemplate]++
	}
	for dom, w := range h.of {
		if !d.store.inherit(dom, w.e, now) && w.seen == dom.revision.Load() {
			continue
		}
		w.seen = dom.revision.Load()
		if s := d.sources[w.e]; s != nil && s.dom == dom {
			d.src, d.id = s, dom.id
			// By the domain's templates: a walk over all that waits, for each
			// domain that has changed, would be somebody's way to stop us.
			dom.table.Load().each(func(id uint16, _ *template) {
				if h.keys[holdKey{dom, id}] != nil {
					d.replay(id)
				}
			})
		}
	}
}

// abandon gives up all that waits.
func (d *decoder) abandon() {
	for d.hold.oldest != nil {
		d.hold.drop(d.hold.oldest)
		d.lost[lostNoTemplate]++
	}
}

package main

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// output is where decoded records go.
type output struct {
	records []traffic.Record // at least one
	n       int              // so many of them are filled in
	hand    func(n int) []traffic.Record
	framed  []framed // those of the n that hold the beginning of a packet, in order
}

// framed is the beginning of the packet behind a record.
type framed struct {
	record int
	link   traffic.LinkType
	wire   int
	data   []byte
}

// next hands over what is filled in and gets room for more.
func (o *output) next() {
	o.records = o.hand(o.n)
	o.n, o.framed = 0, o.framed[:0]
}

// section finds the packet behind record i.
func (o *output) section(i int) (framed, bool) {
	at, ok := slices.BinarySearchFunc(o.framed, i, func(f framed, i int) int { return f.record - i })
	if !ok {
		return framed{}, false
	}
	return o.framed[at], true
}

// frame and frameInfo are what sdk.Writer asks for.
func (o *output) frame(i int) []byte {
	f, _ := o.section(i)
	return f.data
}

func (o *output) frameInfo(i int) (link, wire int) {
	f, _ := o.section(i)
	return int(f.link), f.wire
}

// decoder turns datagrams into records: one for each worker. It knows no
// sockets and no clock.
type decoder struct {
	out   *output
	store *store
	view  *exporter.View
	hold  *hold
	lost  [causes]uint64 // by cause, since settle

	now  int64 // of the datagram, monotonic nanoseconds
	wall int64 // of the datagram, Unix nanoseconds

	id      exporter.ID // of the datagram
	src     *source     // of the datagram
	sources map[*exporter.Exporter]*source

	parser  traffic.Parser // of frame sections
	x       [slowSlots]uint64
	totals  *totals  // made when an exporter needs it
	scratch []byte   // copied records; the first octets stay free, see margin
	far     window   // slots that were brought together
	padded  []byte   // a copy of a datagram without room behind it
	fields  []field  // of the template at hand
	def     []byte   // its definition
	changed []uint16 // templates that the set at hand has given new meanings
	records uint32   // data records in the message
	unsure  bool     // and some whose number is not known
}

func newDecoder(o *output, st *store, v *exporter.View, h *hold) *decoder {
	return &decoder{
		out: o, store: st, view: v, hold: h,
		sources: map[*exporter.Exporter]*source{},
		scratch: make([]byte, scratchSize),
	}
}

// datagram decodes one datagram. now is monotonic, wall the time of day; both
// in nanoseconds. Whatever does not become a record is counted in lost. It
// returns who has sent it, nil if that is nobody to listen to.
func (d *decoder) datagram(data []byte, from netip.AddrPort, now, wall int64) *exporter.Exporter {
	d.now, d.wall = now, wall
	if len(data) < 2 {
		d.lost[lostShort]++
		return nil
	}
	id, why := identify(data, from)
	if id.Version == 0 {
		d.lost[why]++
		return nil
	}
	if !d.find(id) {
		return nil
	}
	data = d.roomy(data)
	d.src.e.Datagram(len(data))
	before := d.out.n
	switch id.Version {
	case 5:
		d.v5(data)
	case 9:
		d.v9(data)
	case 10:
		d.ipfix(data)
	}
	if o := d.out; o.n > 0 && o.n != before { // one record for those who ask where traffic goes
		r := &o.records[o.n-1]
		d.view.Observe(&r.Src, &r.Dst)
	}
	return d.src.e
}

// roomy sees to it that there is room for a window behind a datagram: the last
// record's may end there.
func (d *decoder) roomy(data []byte) []byte {
	if cap(data)-len(data) >= slack {
		return data
	}
	if d.padded == nil {
		d.padded = make([]byte, maxRecord+slack)
	}
	return d.padded[:copy(d.padded[:len(d.padded)-slack], data)]
}

// identify reads who a datagram comes from; if its version is 0 that cannot be
// told.
func identify(data []byte, from netip.AddrPort) (exporter.ID, cause) {
	be := binary.BigEndian
	id := exporter.ID{Source: from}
	switch v := be.Uint16(data); {
	case v == 5 && len(data) >= v5Header:
		id.Version, id.Domain = 5, uint32(be.Uint16(data[20:])) // engine type and engine id
	case v == 9 && len(data) >= v9Header:
		id.Version, id.Domain = 9, be.Uint32(data[16:])
	case v == 10 && len(data) >= ipfixHeader:
		id.Version, id.Domain = 10, be.Uint32(data[12:])
	case v == 5 || v == 9 || v == 10:
		return id, lostShort
	default:
		return id, lostVersion
	}
	return id, 0
}

// find makes the datagram's source the current one.
func (d *decoder) find(id exporter.ID) bool {
	if d.src != nil && id == d.id && !d.src.e.Gone() { // as the one before
		d.src.touch(d, id)
		d.src.base.Time = d.wall
		return true
	}
	e, refusal := d.view.Find(id)
	switch refusal {
	case exporter.NotListed:
		d.lost[lostNotListed]++
		return false
	case exporter.TooMany:
		d.lost[lostTooMany]++
		return false
	}
	if d.src == nil || d.src.e != e {
		s := d.sources[e]
		if s == nil {
			s = d.meet(e, id)
		}
		d.src = s
	}
	d.id = id
	d.src.touch(d, id)
	d.src.base.Time = d.wall
	return true
}

// touch notes that the source is alive.
func (s *source) touch(d *decoder, id exporter.ID) {
	if s.dom == nil {
		return
	}
	if s.dom.gone.Load() { // to make room
		s.dom = d.store.domain(id, s.e, d.now)
	}
	if d.now-s.dom.used.Load() > int64(time.Second) {
		s.dom.used.Store(d.now)
	}
}

// meet makes the source of an exporter that the worker did not know.
func (d *decoder) meet(e *exporter.Exporter, id exporter.ID) *source {
	s := &source{e: e, revision: e.RateRevision()}
	s.base = traffic.Record{Marks: traffic.MarkFlow, Exporter: e.Index()}
	if id.Version == 5 {
		binary.BigEndian.PutUint64(s.base.NextHop[8:], mapped)
	} else {
		s.dom = d.store.domain(id, e, d.now)
	}
	binary.BigEndian.PutUint64(s.base.Src[8:], mapped)
	binary.BigEndian.PutUint64(s.base.Dst[8:], mapped)
	d.sources[e] = s
	return s
}

// sweep forgets sources of exporters that are gone.
func (d *decoder) sweep() {
	for e, s := range d.sources {
		if e.Gone() {
			delete(d.sources, e)
			if d.src == s {
				d.src = nil
			}
		}
	}
}

// wanted asks whether a record counts that its exporter has sent.
func (d *decoder) wanted(r *traffic.Record, egress bool) bool {
	e := d.src.e
	if ok, why := e.Wanted(r.InIf, r.OutIf, egress); !ok {
		if why == exporter.CauseInterface {
			d.lost[lostInterface]++
		} else {
			d.lost[lostDirection]++
		}
		return false
	}
	if e.Deduplicated() && !e.Primary(&r.Dst, r.Bytes) {
		d.lost[lostDuplicate]++
		return false
	}
	return true
}

// malformed counts a thing that makes no sense.
func (d *decoder) malformed(c cause, why string) {
	d.lost[c]++
	d.src.e.Malformed(1, why)
}

// trailing counts octets behind the last thing that makes sense, unless they
// are padding.
func (d *decoder) trailing(data []byte) {
	if !zero(data) {
		d.malformed(lostTrailing, "octets follow behind the end of the message")
	}
}

func zero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

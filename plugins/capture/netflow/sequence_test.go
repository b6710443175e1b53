package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// FuzzSequence gives two workers datagrams of several exporters and domains, in
// any order: templates announced, given other meanings, withdrawn, data before its
// template, time that passes, bounds that are reached. What comes out, and what is
// lost for which cause, is what a simple model says.
func FuzzSequence(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip("longer sequences tell no more")
		}
		newSequence(t, data).play()
	})
}

// sequenceSeeds are sequences of each kind of step, with bounds out of reach (the
// first octet is odd) and within it. A step is an operation, worker and exporter,
// template id, and what else it takes.
func sequenceSeeds() map[string][]byte {
	rng := rand.New(rand.NewPCG(8, 8))
	long := make([]byte, 300)
	for i := range long {
		long[i] = byte(rng.Uint32())
	}
	return map[string][]byte{
		"before-template":  {1, 4, 0, 0, 0, 7, 4, 0, 0, 1, 8, 9, 0, 0, 0, 0},
		"other-worker":     {1, 4, 16, 0, 0, 7, 0, 0, 0, 1, 3, 16, 0, 0},
		"redefined":        {1, 0, 1, 2, 0, 4, 1, 2, 0, 9, 0, 1, 2, 3, 4, 1, 2, 0, 9, 0, 1, 2, 6, 4, 1, 2, 0, 9},
		"withdrawn":        {1, 0, 0, 0, 0, 0, 0, 1, 6, 2, 0, 0, 0, 4, 0, 0, 0, 5, 4, 0, 1, 0, 5, 2, 0, 1, 1, 4, 0, 1, 0, 5},
		"too-late":         {1, 4, 2, 0, 2, 1, 2, 3, 3, 2, 0, 19, 3, 2, 0, 19, 0, 2, 0, 0},
		"bounds-templates": {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 2, 0, 0, 0, 2, 1, 0},
		"bounds-held":      {0, 4, 0, 0, 2, 1, 2, 3, 4, 0, 1, 2, 1, 2, 3, 4, 0, 2, 2, 1, 2, 3, 4, 17, 0, 2, 1, 2, 3, 4, 18, 0, 2, 1, 2, 3, 4, 2, 0, 2, 1, 2, 3, 0, 0, 0, 0},
		"random":           long,
		"random-bounds":    append([]byte{0}, long...),
	}
}

// Long sequences at random, beside those that the fuzzer has found.
func TestSequences(t *testing.T) {
	for seed := range uint64(soak(300, 5000)) {
		rng := rand.New(rand.NewPCG(seed, 17))
		data := make([]byte, 200+rng.IntN(2000))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		newSequence(t, data).play()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// sequenceLayouts are what the model knows: records of as many octets, so that
// data is read by any. Fields of 4 octets but for the protocol's and the ports'.
var sequenceLayouts = [][]uint16{
	{8, 12, 1, 2, 4, 7, 11},
	{12, 8, 2, 1, 7, 4, 11},
	{4, 7, 11, 8, 12, 2, 1},
	{2, 1, 12, 8, 11, 7, 4},
	{8, 12, 2, 15, 4, 7, 11}, // no octets
	{10, 14, 16, 17, 4, 7, 11},
	nil, // options
}

const sequenceRecord = 21

func sequenceSpecs(layout int) (out []spec) {
	if sequenceLayouts[layout] == nil {
		return ids(144, 4, 41, 4, 40, 4, 42, 9)
	}
	for _, id := range sequenceLayouts[layout] {
		n := uint16(4)
		switch id {
		case 4:
			n = 1
		case 7, 11:
			n = 2
		}
		out = append(out, spec{id: id, length: n})
	}
	return out
}

// modelRecord is what counts of a record.
type modelRecord struct {
	src, dst         netip.Addr
	packets, octets  uint64
	sport, dport     uint16
	protocol, worker uint8
}

// modelRead reads a record by a layout; the cause says why it does not count.
func modelRead(data []byte, layout int, worker int) (r modelRecord, why string) {
	r.worker = uint8(worker)
	for _, f := range sequenceSpecs(layout) {
		v := data[:f.length]
		data = data[f.length:]
		n := uint64(0)
		for _, b := range v {
			n = n<<8 | uint64(b)
		}
		switch f.id {
		case 8:
			r.src, _ = netip.AddrFromSlice(v)
		case 12:
			r.dst, _ = netip.AddrFromSlice(v)
		case 1:
			r.octets = n
		case 2:
			r.packets = n
		case 4:
			r.protocol = uint8(n)
		case 7:
			r.sport = uint16(n)
		case 11:
			r.dport = uint16(n)
		}
	}
	switch {
	case !r.src.IsValid():
		return r, "no_addresses"
	case r.packets|r.octets == 0:
		return r, "no_counters"
	case r.packets > 0 && r.octets > 0 && (r.octets >= r.packets<<20 || r.octets < r.packets):
		return r, "impossible_counters"
	case r.packets == 0:
		r.packets = (r.octets + 1499) / 1500
	}
	if r.protocol == 1 || r.protocol == 58 {
		r.sport, r.dport = 0, 0
	}
	return r, ""
}

type modelDomain struct{ exporter, domain int }

type modelHeld struct {
	modelDomain
	worker int
	id     uint16
	data   []byte
	size   int
	at     int64
}

// sequence is one run: two workers with one store, and the model beside them.
type sequence struct {
	t     *testing.T
	data  []byte
	rigs  [2]*rig
	now   int64
	seq   uint32
	trail []string

	tables map[modelDomain]map[uint16]int
	held   []modelHeld
	want   []modelRecord
	lost   map[string]uint64
}

func newSequence(t *testing.T, data []byte) *sequence {
	s := &sequence{t: t, data: data, now: int64(1e9), tables: map[modelDomain]map[uint16]int{}, lost: map[string]uint64{}}
	st := newStore()
	if s.next()%2 == 0 {
		st.bounds = bounds{domainTemplates: 2, templates: 5, held: 4 * (heldOverhead + 100), heldExporter: 2 * (heldOverhead + 100)}
	}
	for i := range s.rigs {
		s.rigs[i] = newRig(t, 3, st)
	}
	s.rigs[1].hold = newHold(&s.rigs[0].held)
	return s
}

func (s *sequence) next() int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b)
}

// send gives a worker a message of an exporter: of 0 and 1 IPFIX, of 2
// NetFlow v9.
func (s *sequence) send(worker int, d modelDomain, sets ...[]byte) {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + d.exporter)}), 2055)
	s.now += 1e6
	s.seq++
	s.rigs[worker].datagram(message(d.exporter < 2, s.seq, uint32(d.domain), sets...), from, s.now, 1e18)
}

func (s *sequence) play() {
	for len(s.data) > 0 {
		op, who, id := s.next(), s.next(), uint16(256+s.next()%4)
		worker := who >> 4 & 1
		d := modelDomain{(who & 3) % 3, who >> 2 & 1} // six: of eight one is dropped to make room
		if s.tables[d] == nil {
			s.tables[d] = map[uint16]int{}
		}
		switch op % 8 {
		case 0, 1:
			s.announce(worker, d, id, s.next()%len(sequenceLayouts))
		case 2:
			s.withdraw(worker, d, id, s.next()%4 == 0)
		case 3:
			s.tick(worker, int64(s.next()%20)*1e9)
		default:
			s.records(worker, d, id, 1+s.next()%3)
		}
		s.compare(fmt.Sprint(op%8, worker, d, id))
	}
	for worker := range s.rigs {
		s.tick(worker, int64(holdTime))
	}
	s.compare("end")
	if n := s.rigs[0].held.Load(); n != 0 || len(s.held) > 0 {
		s.t.Errorf("%d octets are held for ever, %d sets in the model", n, len(s.held))
	}
}

// decode is what the model makes of a set's data.
func (s *sequence) decode(worker int, data []byte, layout int) {
	if sequenceLayouts[layout] == nil {
		return
	}
	for ; len(data) >= sequenceRecord; data = data[sequenceRecord:] {
		r, why := modelRead(data, layout, worker)
		if why != "" {
			s.lost[why]++
			continue
		}
		s.want = append(s.want, r)
	}
}

// release decodes the sets that a worker holds and that are now known.
func (s *sequence) release(worker int, of func(*modelHeld) bool) {
	s.held = slices.DeleteFunc(s.held, func(h modelHeld) bool {
		layout, known := s.tables[h.modelDomain][h.id]
		if h.worker != worker || !known || !of(&h) {
			return false
		}
		s.decode(worker, h.data, layout)
		return true
	})
}

func (s *sequence) templates() (n int) {
	for _, table := range s.tables {
		n += len(table)
	}
	return n
}

func (s *sequence) announce(worker int, d modelDomain, id uint16, layout int) {
	ipfix := d.exporter < 2
	if sequenceLayouts[layout] == nil {
		s.send(worker, d, optionsSet(ipfix, id, 1, sequenceSpecs(layout)))
	} else {
		s.send(worker, d, templateSet(ipfix, id, sequenceSpecs(layout)))
	}
	table, b := s.tables[d], s.rigs[0].store.bounds
	old, known := table[id]
	switch {
	case known && old == layout:
	case !known && (len(table) >= b.domainTemplates || s.templates() >= b.templates):
		s.lost["too_many_templates"]++
	default:
		table[id] = layout
		s.release(worker, func(h *modelHeld) bool { return h.modelDomain == d && h.id == id })
	}
}

func (s *sequence) withdraw(worker int, d modelDomain, id uint16, all bool) {
	if d.exporter >= 2 { // version 9 knows no withdrawal
		return
	}
	if !all {
		s.send(worker, d, set(2, (&builder{}).put(id, uint16(0)).b))
		delete(s.tables[d], id)
		return
	}
	s.send(worker, d, set(2, (&builder{}).put(uint16(2), uint16(0)).b))
	maps.DeleteFunc(s.tables[d], func(_ uint16, layout int) bool { return sequenceLayouts[layout] != nil })
}

func (s *sequence) records(worker int, d modelDomain, id uint16, n int) {
	var data []byte
	for range n {
		seed := uint32(s.next())
		for k := range uint32(5) {
			data = binary.BigEndian.AppendUint32(data, (seed+1)*(k+3)*977>>(seed%13))
		}
		data = append(data, byte(seed))
	}
	content := set(id, data)
	s.send(worker, d, content)
	if layout, known := s.tables[d][id]; known {
		s.decode(worker, data, layout)
		return
	}
	h := modelHeld{d, worker, id, data, len(content) - setHeader + margin + heldOverhead, s.now}
	all, own, b := 0, 0, s.rigs[0].store.bounds
	for _, x := range s.held {
		all += x.size
		if x.worker == worker && x.modelDomain == d {
			own += x.size
		}
	}
	if own > 0 && own+h.size > b.heldExporter {
		s.lost["hold_full"]++
		return
	}
	for ; int64(all+h.size) > b.held; s.lost["hold_full"]++ {
		i := slices.IndexFunc(s.held, func(x modelHeld) bool { return x.worker == worker })
		if i < 0 {
			s.lost["hold_full"]++
			return
		}
		all -= s.held[i].size
		s.held = slices.Delete(s.held, i, i+1)
	}
	s.held = append(s.held, h)
}

func (s *sequence) tick(worker int, passed int64) {
	s.now += passed
	s.rigs[worker].tick(s.now)
	s.held = slices.DeleteFunc(s.held, func(h modelHeld) bool {
		if h.worker != worker || s.now-h.at < int64(holdTime) {
			return false
		}
		s.lost["no_template"]++
		return true
	})
	s.release(worker, func(*modelHeld) bool { return true })
}

// compare holds what both workers have done since it was last called against the
// model; a tick decodes in no certain order.
func (s *sequence) compare(what string) {
	s.t.Helper()
	s.trail = append(s.trail, what)
	var got []modelRecord
	lost := map[string]uint64{}
	for i, r := range s.rigs {
		for _, x := range r.take() {
			got = append(got, modelRecord{x.SrcAddr(), x.DstAddr(), x.Packets, x.Bytes, x.SrcPort, x.DstPort, x.Protocol, uint8(i)})
		}
		for cause, n := range r.losses() {
			lost[cause] += n
		}
	}
	order := func(a, b modelRecord) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, order)
	slices.SortFunc(s.want, order)
	if !slices.Equal(got, s.want) || !maps.Equal(lost, s.lost) {
		s.t.Fatalf("after %q: %v, lost %v; the model has %v, lost %v", s.trail, got, lost, s.want, s.lost)
	}
	s.want, s.lost = s.want[:0], map[string]uint64{}
	if n := s.rigs[0].held.Load(); n > s.rigs[0].store.bounds.held {
		s.t.Fatalf("after %q: %d octets are held", s.trail, n)
	}
	s.rigs[0].store.verify(s.t)
}

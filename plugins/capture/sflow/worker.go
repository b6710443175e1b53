package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// batchRecords is how many records go out at once.
const batchRecords = 512

// writer is what a worker needs of sdk.Writer.
type writer interface {
	Reserve(n int) []traffic.Record
	Commit(n int, frame func(i int) []byte)
	Dropped(cause int, n uint64)
}

// worker turns the datagrams of one socket into records.
type worker struct {
	decoder
	w       writer
	view    *exporter.View
	agents  *agents
	stats   *stats
	sources sources

	now     int64            // Unix nanoseconds, of the batch
	records []traffic.Record // reserved
	n       int              // filled in
	frames  [batchRecords]frame
	batched []udp.Datagram
	frame   func(i int) []byte
	done    struct{ samples, records uint64 } // of the batch

	// Of the datagram.
	exporter *exporter.Exporter
	index    uint32
	filtered bool   // its block leaves something out
	deduped  bool   // others may count in its place
	revision uint32 // of its sampling rates
	tally    tally
}

// frame is where the sampled header behind a record lies.
type frame struct {
	datagram int
	header   span
}

func (c *capture) newWorker(w writer, s *stats) *worker {
	k := &worker{w: w, view: c.set.View(), agents: &c.agents, stats: s, sources: newSources()}
	k.parser.LengthFromFrame = c.cfg.Length == lengthFrame
	_, _ = k.parser.DecapsulateBy(c.cfg.Decapsulate) // Validate complains
	k.frame = func(i int) []byte {
		f := &k.frames[i]
		return k.batched[f.datagram].Data[f.header.from:f.header.to:f.header.to]
	}
	return k
}

// frameInfo tells the link type and the length on the wire of the sampled
// header behind record i, which both stand before it.
func (k *worker) frameInfo(i int) (link, wire int) {
	f := &k.frames[i]
	data, head := k.batched[f.datagram].Data, 12
	if be.Uint32(data) == version5 {
		head = headerSize
	}
	if f.header.from < head {
		return int(linkNone), 0
	}
	protocol, length := be.Uint32(data[f.header.from-head:]), be.Uint32(data[f.header.from-head+4:])
	if protocol == protocolEthernet {
		return int(traffic.LinkEthernet), int(min(length, maxFrame))
	}
	return int(linkOf(protocol)), int(min(length, maxFrame))
}

// batch counts a batch of datagrams that came at a time, in Unix nanoseconds.
// overflow is how many more the kernel has dropped.
func (k *worker) batch(batch []udp.Datagram, now int64, overflow uint64) {
	k.now, k.batched = now, batch
	k.reserve()
	for i := range batch {
		k.datagram(i, &batch[i])
	}
	k.commit()
	k.stats.datagrams.Add(uint64(len(batch)))
	k.stats.samples.Add(k.done.samples)
	k.stats.records.Add(k.done.records)
	k.done.samples, k.done.records = 0, 0
	if overflow > 0 {
		k.lost[causeSocket] += overflow * k.perDatagram()
	}
	for cause, n := range k.lost {
		if n > 0 {
			k.w.Dropped(cause, n)
			k.stats.lost[cause].Add(n)
			k.lost[cause] = 0
		}
	}
}

// perDatagram is how many samples a datagram has had on average: so many are
// taken to have been in one that the kernel dropped.
func (k *worker) perDatagram() uint64 {
	n := k.stats.datagrams.Load()
	if n == 0 {
		return 1
	}
	return max(1, (k.stats.samples.Load()+n/2)/n)
}

func (k *worker) reserve() { k.records, k.n = k.w.Reserve(batchRecords), 0 }

func (k *worker) commit() {
	k.w.Commit(k.n, k.frame)
	k.done.records += uint64(k.n)
}

// datagram counts the samples of one datagram, number i of the batch.
func (k *worker) datagram(i int, dg *udp.Datagram) {
	if !k.open(dg.Data) || !k.identify(dg) {
		return
	}
	var s sample
	samples := 0
	for {
		if k.n == len(k.records) {
			k.commit()
			k.reserve()
		}
		r := &k.records[k.n]
		switch k.next(r, &s) {
		case ended:
			k.close()
			k.settle(samples)
			return
		case counted:
			if samples++; samples == 1 {
				k.view.Observe(&r.Src, &r.Dst)
			}
			if k.scale(r, &s) {
				k.frames[k.n] = frame{i, s.header}
				k.n++
				if k.parser.Several() {
					k.inside(*r)
				}
			}
		case nothing:
			if s.flow {
				samples++
				k.source(&s)
			} else if k.portName.index != 0 {
				k.learnName()
			}
		}
	}
}

// inside adds the packets inside the sampled one that count besides it.
func (k *worker) inside(outer traffic.Record) {
	at := k.frames[k.n-1]
	if at.header.to == at.header.from {
		return // the sample has no header, but fields
	}
	link, wire := k.frameInfo(k.n - 1)
	var more [traffic.MaxTunnels]traffic.Record
	n := k.parser.More(more[:], traffic.LinkType(link), k.frame(k.n-1), wire)
	for i := range more[:n] {
		if k.n == len(k.records) {
			k.commit()
			k.reserve()
		}
		more[i].Carried(&outer)
		k.records[k.n], k.frames[k.n] = more[i], at
		k.n++
	}
}

// identify finds the datagram's exporter.
func (k *worker) identify(dg *udp.Datagram) bool {
	id := exporter.ID{Source: dg.From, Agent: k.agent, Domain: k.subAgent, Version: exporter.SFlow5}
	switch k.version {
	case version4:
		id.Version = exporter.SFlow4
	case version2:
		id.Version = exporter.SFlow2
	}
	e, refused := k.view.Find(id)
	switch refused {
	case exporter.None:
	case exporter.NotListed:
		k.lost[causeNotListed]++
		return false
	default:
		k.lost[causeTooMany]++
		return false
	}
	e.Datagram(len(dg.Data))
	e.Sequence(k.sequence, 1)
	dg.Exporter = e.Block()
	k.exporter, k.index = e, e.Index()
	k.filtered, k.deduped, k.revision = e.Filtered(), e.Deduplicated(), e.RateRevision()
	k.tally = tally{}
	return true
}

// settle reports what the datagram's samples were.
func (k *worker) settle(samples int) {
	e := k.exporter
	if samples > 0 {
		e.Records(samples)
		k.done.samples += uint64(samples)
	}
	if k.unknown > 0 {
		e.Unknown(int(k.unknown))
	}
	if k.bad > 0 {
		e.Malformed(int(k.bad), "a sample whose lengths or numbers contradict each other")
	}
	k.tally.counters = k.counters
	if k.tally != (tally{}) {
		k.agents.add(e, &k.tally)
	}
}

// source brings the state of a sample's data source up to date.
func (k *worker) source(s *sample) *source {
	sampler := s.source
	if s.discard {
		sampler |= discards
	}
	src, fresh := k.sources.find(k.index, sampler)
	if s.sequence != src.next || s.drops != src.drops {
		src.surprise(s, fresh, &k.tally)
	} else {
		src.next++
	}
	if s.sequence-src.from >= poolSpan {
		src.compare(s, &k.tally)
	}
	if s.discard {
		k.tally.discards++
	}
	if fresh || src.rate != s.rate || src.revision != k.revision {
		src.rate, src.revision, src.applied = s.rate, k.revision, 1
		if !s.discard { // a notice of a drop is not sampled
			src.applied = k.exporter.Rate(sampler, uint32(sampler), s.rate)
		}
	}
	return src
}

// scale makes a sampled packet the record that counts, if it is wanted.
func (k *worker) scale(r *traffic.Record, s *sample) bool {
	src := k.source(s)
	if k.filtered {
		if ok, cause := k.exporter.Wanted(s.in, s.out, s.egress()); !ok {
			k.refuse(cause)
			return false
		}
	}
	r.Packets = uint64(src.applied)
	r.Bytes *= uint64(src.applied)
	r.Sampling = src.applied
	r.Time, r.Exporter = k.now, k.index
	if k.deduped && !k.exporter.Primary(&r.Dst, r.Bytes) {
		k.lost[causeDuplicate]++
		return false
	}
	return true
}

func (k *worker) refuse(cause string) {
	if cause == exporter.CauseInterface {
		k.lost[causeInterface]++
		return
	}
	k.lost[causeDirection]++
}

// egress reports whether the packet was sampled where it left: the data source
// is then its output interface (class 0: interfaces).
func (s *sample) egress() bool {
	index := uint32(s.source)
	return s.source>>32 == 0 && index != 0 && index == s.out && index != s.in
}

// maxName is the longest name of an interface that is kept, as in the port
// name structure.
const maxName = 255

// learnName passes on the interface's name that a counter sample tells.
func (k *worker) learnName() {
	name := k.portName.name
	for _, b := range name {
		if b < ' ' || b > '~' {
			name = nil
			break
		}
	}
	if len(name) > 0 && len(name) <= maxName {
		k.exporter.Interface(k.portName.index, string(name))
	}
	k.portName = port{}
}

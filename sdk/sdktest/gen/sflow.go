package gen

import "encoding/binary"

const (
	headerSFlow    = 28
	sampleHead     = 40 // of a flow sample, format and length included
	expandedHead   = 52 // of an expanded one
	rawHead        = 24 // of a raw packet header
	sampledFrame   = 128
	sampleSeq      = 8 // offsets in a sample
	samplePool     = 20
	countersBody   = 28 // of the interface's counters in a counter sample
	expandedSource = 4  // octets that a data source has more in the expanded form
	ifInOctets     = 24 // offsets in the interface's counters; packets follow
	ifOutOctets    = 56
	countersSize   = 88
	frameCheck     = 4 // octets of a frame that are never sampled
)

// Formats of samples.
const (
	flowSample = 1 + iota
	counterSample
	flowSampleExpanded
	counterSampleExpanded
)

// sampler writes sampled frames as sFlow 5 (sflow.org, sFlow Version 5).
type sampler struct {
	out   *output
	d     Datagram
	buf   []byte
	at    []uint16
	since int64
}

func newSampler(o *output) *sampler { return &sampler{out: o, buf: make([]byte, 0, maxPayload)} }

// headSFlow writes a datagram's header; number, time and samples are set later.
func headSFlow(b []byte, t *Telemetry) []byte {
	agent := t.Agent.As4()
	b = append(put32(b, 5, 1), agent[:]...)
	return put32(b, t.Domain, 0, 0, 0)
}

func (w *sampler) packet(p *Packet) {
	n := min(len(p.Frame), sampledFrame)
	head := sampleHead
	if w.out.Expanded {
		head = expandedHead
	}
	size := head + rawHead + (n+3)&^3
	if w.d.Records > 0 && len(w.buf)+size > payload {
		w.flush(p.Time)
	}
	if w.d.Records == 0 {
		w.buf = headSFlow(w.buf[:0], &w.out.Telemetry)
		w.at, w.since = w.at[:0], p.Time
		w.d = Datagram{protocol: SFlow, rate: w.out.Sampling, expanded: w.out.Expanded}
	}
	w.at = append(w.at, uint16(len(w.buf)))
	b := w.buf
	if w.out.Expanded { // class and index of the data source, format and value of interfaces
		b = put32(b, flowSampleExpanded, uint32(size-8), 0, 0, uplink, w.out.Sampling, 0, 0, 0, uplink, 0, downlink, 1)
	} else {
		b = put32(b, flowSample, uint32(size-8), 0, uplink, w.out.Sampling, 0, 0, uplink, downlink, 1)
	}
	b = put32(b, 1, uint32(size-head-8), 1, uint32(len(p.Frame)+frameCheck), frameCheck, uint32(n))
	b = append(b, p.Frame[:n]...)
	for range (n+3)&^3 - n {
		b = append(b, 0)
	}
	w.buf = b
	w.d.Records++
	w.d.Packets++
	w.d.Bytes += p.Record.Bytes
	if w.d.Records == w.out.PerPacket {
		w.flush(p.Time)
	}
}

func (w *sampler) tick(now int64) {
	if w.d.Records > 0 && now-w.since >= flushAfter {
		w.flush(now)
	}
}

func (w *sampler) end(now int64) {
	if w.d.Records > 0 {
		w.flush(now)
	}
}

func (w *sampler) flush(now int64) {
	binary.BigEndian.PutUint32(w.buf[24:], uint32(w.d.Records))
	w.d.Time, w.d.Data, w.d.samples = now, w.buf, w.at
	w.out.send(&w.d)
	w.d = Datagram{}
}

// countersOf is the datagram with a counter sample of each interface: its
// counters and its name. nil where none are asked for.
func countersOf(t *Telemetry) *Datagram {
	if t.Counters == 0 {
		return nil
	}
	d := &Datagram{protocol: SFlow, expanded: t.Expanded}
	b := headSFlow(nil, t)
	for _, port := range []struct {
		index uint32
		name  string
	}{{uplink, "uplink"}, {downlink, "downlink"}} {
		from := len(b)
		d.samples = append(d.samples, uint16(from))
		if t.Expanded {
			b = put32(b, counterSampleExpanded, 0, 0, 0, port.index, 2)
		} else {
			b = put32(b, counterSample, 0, 0, port.index, 2)
		}
		const ethernet, gigabits, fullDuplex, up = 6, 100e9, 1, 3 // RFC 2863, RFC 3635
		b = put32(b, 1, countersSize)
		at := len(b)
		b = binary.BigEndian.AppendUint64(put32(b, port.index, ethernet), gigabits)
		b = put32(b, fullDuplex, up)
		b = append(b, make([]byte, at+countersSize-len(b))...)
		size := (len(port.name) + 3) &^ 3
		b = append(put32(b, 1005, uint32(4+size), uint32(len(port.name))), port.name...)
		b = append(b, make([]byte, size-len(port.name))...)
		binary.BigEndian.PutUint32(b[from+4:], uint32(len(b)-from-8))
	}
	binary.BigEndian.PutUint32(b[24:], uint32(len(d.samples)))
	d.Data = b
	return d
}

package gen

import "encoding/binary"

const (
	headerSFlow  = 28
	sampleHead   = 40 // of a flow sample, format and length included
	rawHead      = 24 // of a raw packet header
	sampledFrame = 128
	sampleSeq    = 8 // offsets in a sample
	samplePool   = 20
	frameCheck   = 4 // octets of a frame that are never sampled
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

func (w *sampler) packet(p *Packet) {
	n := min(len(p.Frame), sampledFrame)
	size := sampleHead + rawHead + (n+3)&^3
	if w.d.Records > 0 && len(w.buf)+size > payload {
		w.flush(p.Time)
	}
	if w.d.Records == 0 {
		agent := w.out.Agent.As4()
		b := put32(w.buf[:0], 5, 1)
		b = append(b, agent[:]...)
		w.buf = put32(b, w.out.Domain, 0, 0, 0)
		w.at, w.since = w.at[:0], p.Time
		w.d = Datagram{protocol: SFlow, rate: w.out.Sampling}
	}
	w.at = append(w.at, uint16(len(w.buf)))
	b := put32(w.buf, 1, uint32(size-8), 0, uplink, w.out.Sampling, 0, 0, uplink, downlink, 1)
	b = put32(b, 1, uint32(size-sampleHead-8), 1, uint32(len(p.Frame)+frameCheck), frameCheck, uint32(n))
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

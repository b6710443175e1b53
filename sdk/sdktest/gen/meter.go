package gen

import (
	"encoding/binary"
	"math"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The interfaces and systems between which the exporter stands.
const (
	uplink   = 1
	downlink = 2
	ourAS    = 64500
	otherAS  = 64496 // and the three after it
)

// flowKey is what makes packets one flow.
type flowKey struct {
	src, dst     [16]byte
	sport, dport uint16
	proto, tos   uint8
	marks        traffic.Marks
}

// flow is one entry of the exporter's cache.
type flow struct {
	flowKey
	flags, icmpType uint8
	used            bool
	in, out         uint16
	srcAS, dstAS    uint16
	packets, bytes  uint64
	first, last     int64
}

// meter is a router's flow cache.
type meter struct {
	out      *output
	ours     *prefix.Table
	cache    map[flowKey]int32
	flows    []flow
	free     []int32
	oldest   int32 // the next to leave a full cache
	swept    int64
	most     uint64 // octets that a record has room for
	families [2]flowWriter
}

func newMeter(o *output, s *Scenario) (*meter, error) {
	ours, err := oursOf(s)
	if err != nil {
		return nil, err
	}
	m := &meter{out: o, ours: ours, cache: make(map[flowKey]int32), most: math.MaxInt64}
	if o.Protocol == NetFlow5 {
		m.most = math.MaxUint32
	}
	for i := range m.families {
		m.families[i] = newFlowWriter(o, i == 1)
	}
	return m, nil
}

func (m *meter) packet(p *Packet) {
	r := &p.Record
	key := flowKey{
		src: r.Src, dst: r.Dst, sport: r.SrcPort, dport: r.DstPort, proto: r.Protocol, tos: r.ToS,
		marks: r.Marks & (traffic.MarkIPv6 | traffic.MarkFragment | traffic.MarkLater),
	}
	n, ok := m.cache[key]
	if ok {
		f := &m.flows[n]
		if p.Time-f.first >= int64(m.out.Active) || f.bytes+r.Bytes > m.most {
			m.export(n, p.Time)
			ok = false
		}
	}
	if !ok {
		n = m.add(key, p.Time)
		m.flows[n].icmpType = r.ICMPType
	}
	f := &m.flows[n]
	f.packets += r.Packets
	f.bytes += r.Bytes
	f.flags |= r.TCPFlags
	f.last = p.Time
	if r.TCPFlags&(traffic.FlagFIN|traffic.FlagRST) != 0 {
		m.export(n, p.Time)
	}
}

func (m *meter) add(key flowKey, now int64) int32 {
	if len(m.cache) >= m.out.Cache {
		for !m.flows[m.oldest].used {
			m.oldest = (m.oldest + 1) % int32(len(m.flows))
		}
		m.export(m.oldest, now)
		m.oldest = (m.oldest + 1) % int32(len(m.flows))
	}
	n := int32(len(m.flows))
	if k := len(m.free); k > 0 {
		n, m.free = m.free[k-1], m.free[:k-1]
	} else {
		m.flows = append(m.flows, flow{})
	}
	f := flow{flowKey: key, used: true, first: now, last: now, in: downlink, out: uplink}
	f.srcAS, f.dstAS = otherAS+uint16(key.src[13]&3), otherAS+uint16(key.dst[13]&3)
	if m.ours.Lookup(&key.dst) != 0 {
		f.in, f.out, f.dstAS = uplink, downlink, ourAS
	}
	if m.ours.Lookup(&key.src) != 0 {
		f.srcAS = ourAS
	}
	m.flows[n] = f
	m.cache[key] = n
	return n
}

// export tells of a flow and forgets it.
func (m *meter) export(n int32, now int64) {
	f := &m.flows[n]
	family := 0
	if f.marks&traffic.MarkIPv6 != 0 {
		family = 1
	}
	m.families[family].add(f, now)
	delete(m.cache, f.flowKey)
	f.used = false
	m.free = append(m.free, n)
}

// tick looks once a second for flows that are over or last too long.
func (m *meter) tick(now int64) {
	for i := range m.families {
		m.families[i].tick(now)
	}
	if now-m.swept < 1e9 {
		return
	}
	m.swept = now
	for n := range m.flows {
		f := &m.flows[n]
		if f.used && (now-f.last >= int64(m.out.Inactive) || now-f.first >= int64(m.out.Active)) {
			m.export(int32(n), now)
		}
	}
}

func (m *meter) end(now int64) {
	for n := range m.flows {
		if m.flows[n].used {
			m.export(int32(n), now)
		}
	}
	for i := range m.families {
		m.families[i].flush(now)
	}
}

// flowWriter puts the flow records of one family into datagrams.
type flowWriter struct {
	out   *output
	lay   *layout
	v6    bool
	d     Datagram
	buf   []byte
	since int64 // when the first record came
}

// flushAfter is how long an exporter waits for a datagram to fill.
const flushAfter = 1e9

func newFlowWriter(o *output, v6 bool) flowWriter {
	lay := layoutOf(o.Protocol, v6)
	return flowWriter{out: o, lay: lay, v6: v6, buf: make([]byte, 0, maxPayload)}
}

func (w *flowWriter) add(f *flow, now int64) {
	if w.lay == nil {
		w.out.told.Skipped++
		return
	}
	if w.d.Records == 0 {
		w.buf = w.lay.begin(w.buf[:0], w.out)
		w.since = now
		w.d = Datagram{protocol: w.out.Protocol, first: len(w.buf) + w.lay.times, stride: w.lay.size}
	}
	w.buf = w.lay.append(w.buf, f)
	w.d.Records++
	w.d.Packets += f.packets
	w.d.Bytes += f.bytes
	if len(w.buf)+w.lay.size > w.lay.payload || w.d.Records == w.out.PerPacket {
		w.flush(now)
	}
}

func (w *flowWriter) tick(now int64) {
	if w.d.Records > 0 && now-w.since >= flushAfter {
		w.flush(now)
	}
}

func (w *flowWriter) flush(now int64) {
	if w.d.Records == 0 {
		return
	}
	w.buf = w.lay.finish(w.buf, w.d.Records)
	w.d.Time, w.d.Data, w.d.clock = now, w.buf, uint64(now/1e6)
	w.out.send(&w.d)
	w.d = Datagram{}
}

func put16(b []byte, v ...uint16) []byte {
	for _, n := range v {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func put32(b []byte, v ...uint32) []byte {
	for _, n := range v {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

package main

import (
	"encoding/binary"
	"math/bits"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// totalsSize is how many running flows a worker remembers; a power of two.
const totalsSize = 1 << 14

// total is what a running flow had counted when it was last exported.
type total struct {
	key             uint64
	packets, octets uint64
	back            reverse
}

// totals remembers the flows of exporters whose counters are never reset
// (octetTotalCount and packetTotalCount, RFC 7012 4.6): of a flow that is
// exported again while it runs only what has come since counts. A flow is
// known again by its begin, its id or addresses and ports. One that another
// has pushed out counts in full once more.
type totals [totalsSize]total

// since turns total counters into what has come since the last export.
func (d *decoder) since(r *traffic.Record, t *template, start int64, back *reverse) {
	if d.totals == nil {
		d.totals = new(totals)
	}
	key := mix(flowKey(r, start), uint64(r.Exporter))
	if t.has&(1<<slowFlowID) != 0 {
		key = mix(key, d.x[slowFlowID])
	}
	last := &d.totals[key%totalsSize]
	now := total{key | 1, r.Packets, r.Bytes, *back}
	if last.key == now.key && r.Packets >= last.packets && r.Bytes >= last.octets &&
		back.packets >= last.back.packets && back.octets >= last.back.octets {
		r.Packets -= last.packets
		r.Bytes -= last.octets
		back.packets -= last.back.packets
		back.octets -= last.back.octets
	}
	*last = now
}

// flowKey is a number for a flow that is never 0.
func flowKey(r *traffic.Record, start int64) uint64 {
	be := binary.BigEndian
	h := mix(uint64(start), be.Uint64(r.Src[:]))
	h = mix(h, be.Uint64(r.Src[8:]))
	h = mix(h, be.Uint64(r.Dst[:]))
	h = mix(h, be.Uint64(r.Dst[8:]))
	return mix(h, uint64(r.SrcPort)<<24|uint64(r.DstPort)<<8|uint64(r.Protocol))
}

// mix stirs v into h.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^0x9e3779b97f4a7c15, v^0xd1b54a32d192ed03)
	return hi ^ lo ^ v
}

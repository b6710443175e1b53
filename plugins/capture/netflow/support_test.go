package main

import (
	"net/netip"
	"os"
	"sync/atomic"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// rig is a decoder that keeps what it decodes.
type rig struct {
	*decoder
	set     *exporter.Set
	records []traffic.Record
	now     int64
	held    atomic.Int64
}

// newRig makes a decoder of its own store. room is how many records it may
// reserve at a time.
func newRig(t testing.TB, room int, st *store) *rig {
	t.Helper()
	set, err := exporter.NewSet(exporter.Options{Max: 1 << 17})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{set: set, now: int64(1e9)}
	if st == nil {
		st = newStore()
	}
	buf := make([]traffic.Record, room)
	o := &output{}
	o.hand = func(n int) []traffic.Record {
		r.records = append(r.records, o.records[:n]...)
		for i := range buf { // old bytes
			dirty(&buf[i])
		}
		return buf
	}
	o.next()
	r.decoder = newDecoder(o, st, set.View(), newHold(&r.held))
	return r
}

// dirty fills a record with bytes that nobody may leave in it.
func dirty(r *traffic.Record) {
	*r = traffic.Record{
		Packets: 1 << 60, Bytes: 1 << 60, Sampling: 7777, DurationMs: 7777, SrcPort: 7777, DstPort: 7777, Protocol: 77, TCPFlags: 77,
		Marks: 0xffff, Time: 7777, Class: 7777, Exporter: 7777, InIf: 7777, OutIf: 7777, SrcAS: 7777, DstAS: 7777, VLAN: 7777,
		TTL: 77, ToS: 77, ICMPType: 77, ICMPCode: 77, Verdict: 77, Spread: 77,
	}
	for i := range r.Src {
		r.Src[i], r.Dst[i], r.NextHop[i] = 77, 77, 77
	}
}

var (
	device  = netip.MustParseAddrPort("192.0.2.1:50000")
	another = netip.MustParseAddrPort("192.0.2.2:50000")
)

// give decodes datagrams from an address.
func (r *rig) give(from netip.AddrPort, datagrams ...[]byte) {
	for _, data := range datagrams {
		r.now += 1e6
		r.datagram(data, from, r.now, 1e18)
	}
}

// take returns what was decoded since it was last asked.
func (r *rig) take() []traffic.Record {
	r.out.next()
	got := r.records
	r.records = nil
	return got
}

// losses returns what was lost, by cause, since it was last asked.
func (r *rig) losses() map[string]uint64 {
	names := (&capture{}).Causes()
	m := map[string]uint64{}
	for i, n := range r.lost {
		if n > 0 {
			m[names[i]] = n
		}
		r.lost[i] = 0
	}
	return m
}

// device4 is an address for a device, the same for the same name.
func device4(name string) netip.AddrPort {
	h := uint32(2166136261)
	for _, c := range []byte(name) {
		h = (h ^ uint32(c)) * 16777619
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(h)}), 1024+uint16(h>>16)%60000)
}

// soak chooses between the count of a normal run and that of a long one.
func soak(normal, long int) int {
	if os.Getenv("FASTNETMON_SOAK") == "1" {
		return long
	}
	return normal
}

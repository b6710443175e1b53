package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// rates returns the sampling rates of what a rig has decoded.
func (r *rig) rates() (rates []uint32) {
	for _, x := range r.take() {
		rates = append(rates, x.Sampling)
	}
	return rates
}

func wantRates(t *testing.T, what string, got []uint32, want ...uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: rates %v, want %v", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: rates %v, want %v", what, got, want)
			return
		}
	}
}

// Sampling rates that options tell: before the data, behind it and in the
// same message, for all, for samplers and for interfaces.
func TestSamplingOptions(t *testing.T) {
	layout := append(basic[:5:5], ids(48, 1, 10, 4)...)
	data := func(sampler uint8, iface uint32) []byte {
		return append(basicRecord(17), (&builder{}).put(sampler, iface).b...)
	}
	for _, ipfix := range []bool{false, true} {
		announce := templateSet(ipfix, 256, layout)
		m := func(sets ...[]byte) []byte { return message(ipfix, 0, 1, sets...) }
		option := func(rate uint32) [][]byte {
			return [][]byte{optionsSet(ipfix, 300, 1, ids(144, 4, 34, 4)), set(300, (&builder{}).put(uint32(0), rate).b)}
		}
		r := newRig(t, 3, nil)
		r.give(device, m(announce, set(256, data(0, 0))), m(option(100)...), m(set(256, data(0, 0))))
		wantRates(t, "options after data", r.rates(), 1, 100)
		r.give(device, m(append(option(200), set(256, data(0, 0)))...))
		wantRates(t, "options in the same message", r.rates(), 200)
		r.give(device, m(optionsSet(ipfix, 301, 1, ids(144, 4, 48, 1, 49, 1, 50, 4)),
			set(301, (&builder{}).put(uint32(0), uint8(1), uint8(2), uint32(10)).b, (&builder{}).put(uint32(0), uint8(2), uint8(2), uint32(20)).b),
			set(256, data(1, 0), data(2, 0), data(3, 0), data(0, 0), data(1, 0))))
		wantRates(t, "samplers", r.rates(), 10, 20, 200, 200, 10)

		r = newRig(t, 3, nil)
		r.give(device, m(announce, optionsSet(ipfix, 302, 1, ids(10, 4, 34, 4)),
			set(302, (&builder{}).put(uint32(5), uint32(50)).b, (&builder{}).put(uint32(6), uint32(60)).b)),
			m(set(256, data(0, 5), data(0, 6), data(0, 5))))
		if ipfix { // in version 9 the scope's 10 is no element
			wantRates(t, "interfaces", r.rates(), 50, 60, 50)
		}
	}
	r := newRig(t, 3, nil)
	r.give(device, message(false, 0, 1, templateSet(false, 256, layout), optionsSet(false, 302, 1, ids(2, 4, 34, 4)),
		set(302, (&builder{}).put(uint32(5), uint32(50)).b), set(256, data(0, 5))))
	wantRates(t, "interface scope", r.rates(), 50)
	for name, c := range map[string]struct {
		fields []spec
		values []any
		want   uint32
	}{
		"selector":     {ids(302, 4, 304, 2, 305, 4, 306, 4), []any{uint32(1), uint16(1), uint32(1), uint32(1023)}, 1024},
		"by time":      {ids(302, 4, 304, 2, 305, 4, 306, 4), []any{uint32(1), uint16(2), uint32(1), uint32(1023)}, 1},
		"n of N":       {ids(302, 4, 304, 2, 309, 4, 310, 4), []any{uint32(1), uint16(3), uint32(2), uint32(1000)}, 500},
		"probability":  {ids(302, 4, 304, 2, 311, 4), []any{uint32(1), uint16(4), uint32(0x3c800000)}, 64},
		"swapped":      {ids(302, 4, 34, 4), []any{uint32(1), uint32(1 << 24)}, 1},
		"none of many": {ids(302, 4, 309, 4, 310, 4), []any{uint32(1), uint32(10), uint32(5)}, 1},
	} {
		r := newRig(t, 3, nil)
		layout := append(basic[:5:5], ids(302, 4)...)
		r.give(device, message(true, 0, 1, optionsSet(true, 300, 1, c.fields), set(300, (&builder{}).put(c.values...).b),
			templateSet(true, 256, layout), set(256, append(basicRecord(17), 0, 0, 0, 1))))
		wantRates(t, name, r.rates(), c.want)
	}
}

// Two exporters behind one address translation, told apart by port or domain,
// keep apart their templates, sampling rates and sequences.
func TestIdentity(t *testing.T) {
	nat := netip.MustParseAddr("192.0.2.77")
	a, b := netip.AddrPortFrom(nat, 1000), netip.AddrPortFrom(nat, 2000)
	for _, c := range []struct {
		name    string
		from    [2]netip.AddrPort
		domains [2]uint32
	}{{"port", [2]netip.AddrPort{a, b}, [2]uint32{0, 0}}, {"domain", [2]netip.AddrPort{a, a}, [2]uint32{1, 2}}} {
		r := newRig(t, 3, nil)
		layouts := [2][]spec{basic, ids(4, 1, 12, 4, 8, 4, 1, 4, 2, 4)}
		bodies := [2][]byte{basicRecord(17), (&builder{}).put(uint8(17), flow4.dst, flow4.src, uint32(1000), uint32(10)).b}
		for i := range 2 {
			r.give(c.from[i], message(true, 0, c.domains[i], templateSet(true, 256, layouts[i]),
				optionsSet(true, 300, 1, ids(144, 4, 34, 4)), set(300, (&builder{}).put(uint32(0), uint32(10*(i+1))).b)))
		}
		for range 3 {
			for i := range 2 {
				r.give(c.from[i], message(true, 0, c.domains[i], set(256, bodies[i])))
			}
		}
		got := r.take()
		if len(got) != 6 {
			t.Fatalf("%s: %d records", c.name, len(got))
		}
		for i, x := range got {
			rate := uint64(10 * (i%2 + 1))
			if x.SrcAddr() != flow4.src || x.Packets != 10*rate || x.Bytes != 1000*rate {
				t.Errorf("%s: record %d: %+v", c.name, i, x)
			}
		}
		if got[0].Exporter == got[1].Exporter || got[0].Exporter != got[2].Exporter {
			t.Errorf("%s: exporters %d, %d, %d", c.name, got[0].Exporter, got[1].Exporter, got[2].Exporter)
		}
	}
}

// Data of a new port waits for its own templates while the old port is alive,
// and takes that one's when it has been silent.
func TestNewPort(t *testing.T) {
	r := newRig(t, 3, nil)
	old, fresh := netip.AddrPortFrom(device.Addr(), 1000), netip.AddrPortFrom(device.Addr(), 2000)
	data := message(false, 0, 1, set(256, basicRecord(17)))
	r.give(old, message(false, 0, 1, templateSet(false, 256, basic), optionsSet(false, 300, 1, ids(1, 4, 34, 4)), set(300, (&builder{}).put(uint32(0), uint32(7)).b)))
	r.give(fresh, data)
	r.tick(r.now + int64(time.Second))
	if got := r.take(); len(got) != 0 {
		t.Fatalf("decoded by the templates of another exporter: %+v", got)
	}
	r.now += int64(silence)
	r.tick(r.now)
	wantRates(t, "after the old port was silent", r.rates(), 7)
	r.give(fresh, data)
	wantRates(t, "later", r.rates(), 7)
	r.check(t)
	// After a restart of our own the old port is one of the last run.
	restarted := newStore()
	if err := restarted.decode(r.store.encode(r.now, 1e9)); err != nil {
		t.Fatal(err)
	}
	again := newRig(t, 3, restarted)
	again.give(netip.AddrPortFrom(device.Addr(), 3000), data)
	wantRates(t, "after a restart of both", again.rates(), 7)
}

// What waits too long is given up and counted; what has waited for long counts
// as the average over that time.
func TestHold(t *testing.T) {
	data := message(false, 0, 1, set(256, basicRecord(17), basicRecord(17)))
	announce := message(false, 0, 1, templateSet(false, 256, basic))
	r := newRig(t, 3, nil)
	r.give(device, data)
	r.tick(r.now + int64(holdTime) - 1)
	if len(r.losses()) > 0 {
		t.Error("given up too early")
	}
	r.tick(r.now + int64(holdTime))
	if lost := r.losses(); lost["no_template"] != 1 {
		t.Errorf("lost %v", lost)
	}
	r.give(device, data)
	r.now += int64(10 * time.Second)
	r.give(device, announce)
	got := r.take()
	if len(got) != 2 || got[0].DurationMs != 10001 || got[0].Spread != lateSpread || got[0].Packets != 10 {
		t.Errorf("late records: %+v", got)
	}
	r.give(device, data)
	if got = r.take(); len(got) != 2 || got[0].DurationMs != 0 {
		t.Errorf("records in time: %+v", got)
	}
	r.give(device, message(false, 0, 1, set(999, basicRecord(17))))
	r.abandon()
	if lost := r.losses(); lost["no_template"] != 1 || r.held.Load() != 0 {
		t.Errorf("in the end: lost %v, %d octets held", lost, r.held.Load())
	}
}

// What waits is bounded: of one exporter, and of all, the oldest going first.
func TestHoldBounds(t *testing.T) {
	r := newRig(t, 3, nil)
	big := make([]byte, 60000)
	big[0] = 1
	data := message(false, 0, 1, set(256, big))
	n := holdExporter / (len(big) + heldOverhead + margin)
	for range n + 10 {
		r.give(device, data)
	}
	if lost := r.losses(); lost["hold_full"] != 10 {
		t.Errorf("of one exporter: lost %v", lost)
	}
	for i := range 12 * n {
		r.give(netip.AddrPortFrom(device.Addr(), uint16(1+i)), data)
	}
	if lost := r.losses(); lost["hold_full"] < uint64(3*n) || r.held.Load() < holdOctets*9/10 {
		t.Errorf("of all: lost %v, %d octets held", lost, r.held.Load())
	}
	if r.hold.of[r.sources[r.src.e].dom] == nil || r.hold.oldest.key.dom.id.Source == device {
		t.Error("the newest went first")
	}
	r.check(t)
}

// Withdrawn templates are gone, and so are the last ones of a domain.
func TestWithdrawal(t *testing.T) {
	r := newRig(t, 3, nil)
	announce := message(true, 0, 1, templateSet(true, 256, basic), templateSet(true, 257, basic), optionsSet(true, 300, 1, ids(144, 4, 34, 4)))
	data := message(true, 0, 1, set(256, basicRecord(17)), set(257, basicRecord(17)))
	r.give(device, announce, data)
	if n := len(r.take()); n != 2 {
		t.Errorf("%d records", n)
	}
	r.give(device, message(true, 0, 1, set(2, word(256), word(0))), data)
	if n := len(r.take()); n != 1 || r.src.dom.templates.Load() != 2 {
		t.Errorf("%d records with one withdrawn", n)
	}
	r.give(device, message(true, 0, 1, set(2, word(2), word(0))), data)
	if n := len(r.take()); n != 0 || r.src.dom.templates.Load() != 1 {
		t.Errorf("%d records with all withdrawn", n)
	}
	r.give(device, message(true, 0, 1, set(3, word(3), word(0))))
	if n := r.src.dom.templates.Load(); n != 0 {
		t.Errorf("%d templates are left", n)
	}
	r.give(device, announce)
	if n := len(r.take()); n != 3 { // what has waited since
		t.Errorf("%d records of what was held", n)
	}
	r.check(t)
}

// Only listed exporters, wanted directions and interfaces.
func TestFilters(t *testing.T) {
	set1, err := exporter.NewSet(exporter.Options{OnlyListed: true, Blocks: []exporter.Block{{
		Name: "r1", Source: []netip.Prefix{netip.PrefixFrom(device.Addr(), 32)}, Count: "ingress", Interfaces: []string{"5"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 2, nil)
	r.view = set1.View()
	layout := append(basic[:5:5], ids(61, 1, 10, 4, 14, 4)...)
	data := func(direction uint8, in uint32) []byte {
		return append(basicRecord(17), (&builder{}).put(direction, in, uint32(99)).b...)
	}
	r.give(device, message(false, 0, 1, templateSet(false, 256, layout), set(256, data(0, 5), data(1, 5), data(0, 6))))
	r.give(another, message(false, 0, 1, templateSet(false, 256, layout)), v5Message(1, 0, 0, flow4.v5()))
	f := flow4
	f.in = 5
	r.give(device, v5Message(2, 0, 0, flow4.v5(), f.v5()))
	got, lost := r.take(), r.losses()
	if len(got) != 2 || lost[exporter.CauseDirection] != 1 || lost[exporter.CauseInterface] != 2 || lost["exporter_not_listed"] != 2 {
		t.Errorf("%d records, lost %v", len(got), lost)
	}
}

// An exporter whose only held set is pushed out by its own next one is still
// known as one that waits.
func TestHoldPushesOutItsOwn(t *testing.T) {
	r := newRig(t, 3, nil)
	data := message(false, 0, 1, set(256, basicRecord(17)))
	r.give(device, data)
	r.held.Store(holdOctets) // other workers hold the rest
	r.give(device, data)
	if lost := r.losses(); lost["hold_full"] == 0 {
		t.Errorf("lost %v", lost)
	}
	r.held.Store(0)
	for x := r.hold.oldest; x != nil; x = x.newer {
		r.held.Add(int64(x.size()))
	}
	r.tick(r.now + int64(holdTime))
	if r.held.Load() != 0 || len(r.hold.keys) != 0 || len(r.hold.of) != 0 {
		t.Errorf("%d octets of %d exporters are still held", r.held.Load(), len(r.hold.of))
	}
	// Two of its own, of which the first goes.
	r.give(device, data)
	r.held.Store(holdOctets - int64(r.hold.oldest.size())/2)
	r.give(device, data)
	r.tick(r.now + int64(holdTime))
	if len(r.hold.keys) != 0 || len(r.hold.of) != 0 {
		t.Errorf("%d exporters still wait", len(r.hold.of))
	}
}

package main

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// check wants everything a rig has decoded and holds to make sense.
func (r *rig) check(t testing.TB) {
	t.Helper()
	got := r.take()
	for i := range got {
		g := &got[i]
		bad := g.Sampling == 0 || g.Packets == 0 || g.Class != 0 || g.Verdict != 0 || g.Exporter == 0 || g.Time != 1e18 ||
			g.Marks&^(traffic.MarkIPv6|traffic.MarkFragment|traffic.MarkDropped|traffic.MarkLater|traffic.MarkFlow) != 0 ||
			g.Marks&traffic.MarkFlow == 0 && g.DurationMs != 0 || g.DurationMs > 1<<31-1 || g.Spread > 120 || g.VLAN > 4095 ||
			!g.IsIPv6() && (!isMapped(&g.Src) || !isMapped(&g.Dst))
		if bad {
			t.Fatalf("record %d makes no sense: %+v", i, g)
		}
	}
	octets := int64(0)
	for x := r.hold.oldest; x != nil; x = x.newer {
		octets += int64(x.size())
	}
	if octets != r.held.Load() || octets > holdOctets {
		t.Fatalf("%d octets are held, %d counted", octets, r.held.Load())
	}
	r.store.verify(t)
}

// verify wants the store's sums to be right and within bounds.
func (st *store) verify(t testing.TB) {
	t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	templates, octets, refs := 0, 0, map[*template]int{}
	for _, d := range st.domains {
		n := 0
		d.table.Load().each(func(_ uint16, x *template) {
			refs[x]++
			n++
		})
		templates += n
		if n > maxDomainTemplates || n != int(d.templates.Load()) {
			t.Fatalf("%d templates in a domain, counted %d", n, d.templates.Load())
		}
	}
	for text, d := range st.definitions {
		octets += len(text) + compiledSize
		if d.refs != refs[d] || d.refs == 0 {
			t.Fatalf("a definition has %d users, counted %d", refs[d], d.refs)
		}
	}
	if templates != st.templates || octets != st.octets || len(st.domains) > maxDomains || templates > maxTemplates {
		t.Fatalf("%d templates of %d octets in %d domains; counted %d and %d", templates, octets, len(st.domains), st.templates, st.octets)
	}
}

// inputs are datagrams to damage: the fixtures of each device, if they are
// there, and what this package makes.
func inputs(t *testing.T) (out [][][]byte) {
	for _, in := range []map[string][]byte{hostileV5(), hostile(false), hostile(true)} {
		for _, name := range []string{"good", "standard", "overflow", "asa", "enterprise", "frame", "options-name", "variable-cut", "two-messages"} {
			if in[name] != nil {
				out = append(out, unstream(in[name]))
			}
		}
	}
	t.Run("fixtures", func(t *testing.T) {
		files := fixtures(t)
		for _, names := range families(files) {
			var group [][]byte
			for _, name := range names {
				group = append(group, files[name])
			}
			out = append(out, group)
		}
	})
	return out
}

// Datagrams cut at every octet.
func TestTruncation(t *testing.T) {
	for _, group := range inputs(t) {
		r := newRig(t, 5, nil)
		r.give(device, group...)
		for _, data := range group {
			for n := range data {
				r.give(device, data[:n])
			}
			r.check(t)
		}
	}
}

// Datagrams with every octet changed in several ways, templates included: the
// data that follows is read by templates that do not belong to it.
func TestFlips(t *testing.T) {
	for _, group := range inputs(t) {
		r := newRig(t, 5, nil)
		for _, data := range group {
			changed := append([]byte(nil), data...)
			for i := range changed {
				for _, mask := range []byte{0xff, 0x01, 0x80}[:soak(1, 3)] {
					changed[i] ^= mask
					r.give(device, changed)
					if i%64 == 0 && mask == 0xff {
						r.give(device, group...)
					}
					changed[i] ^= mask
				}
			}
			r.check(t)
		}
	}
}

// Random damage, the same every time.
func TestGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	groups := inputs(t)
	r := newRig(t, 3, nil)
	for range 20000 {
		group := groups[rng.IntN(len(groups))]
		data := append([]byte(nil), group[rng.IntN(len(group))]...)
		for range rng.IntN(5) {
			data[rng.IntN(len(data))] = byte(rng.Uint32())
		}
		r.give(netip.AddrPortFrom(device.Addr(), uint16(1024+rng.IntN(50))), data[:1+rng.IntN(len(data))])
	}
	r.check(t)
	r.tick(r.now + int64(holdTime))
	r.check(t)
	if r.held.Load() != 0 || len(r.hold.keys) != 0 || len(r.hold.of) != 0 {
		t.Errorf("%d octets are still held", r.held.Load())
	}
}

// A template that changes while other workers decode by it.
func TestTemplateChangesUnderData(t *testing.T) {
	st := newStore()
	layouts := [][]spec{ids(8, 4, 12, 4, 1, 4, 2, 4), ids(27, 16, 28, 16, 1, 8, 2, 8), ids(2, 8, 1, 8, 8, 4, 12, 4, 7, 2, 11, 2)}
	set, err := exporter.NewSet(exporter.Options{Sampling: 1})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var held atomic.Int64
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			buf := make([]traffic.Record, 16)
			o := &output{hand: func(int) []traffic.Record { return buf }}
			o.next()
			d := newDecoder(o, st, set.View(), newHold(&held))
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 2000 {
				fields := layouts[rng.IntN(len(layouts))]
				f := random(rng, fields[0].id == 27)
				d.datagram(message(w%2 == 0, 1, 1, templateSet(w%2 == 0, 256, fields), set256(f, fields)), device, int64(1e9+i), 1e18)
				if i%100 == 0 {
					_ = st.encode(1, 1)
				}
			}
		}()
	}
	wg.Wait()
	st.verify(t)
}

func set256(f v5Flow, fields []spec) []byte { return set(256, f.record(fields)) }

// Templates without end, from one exporter and from many.
func TestTemplateBombs(t *testing.T) {
	r := newRig(t, 8, nil)
	for round := range 8 {
		var sets [][]byte
		for i := range 4000 {
			sets = append(sets, (&builder{}).put(uint16(256+i), uint16(1), uint16(8), uint16(1+round*4000+i)).b)
		}
		r.give(device, message(true, 0, 1, set(2, sets...)))
	}
	if n := r.store.templates; n != maxDomainTemplates {
		t.Errorf("%d templates are held, want %d", n, maxDomainTemplates)
	}
	if r.losses()["too_many_templates"] == 0 {
		t.Error("nothing is said of templates that found no room")
	}
	r.check(t)
	large := ids()
	for i := range maxFields {
		large = append(large, spec{id: uint16(i), length: 1})
	}
	for i := range soak(3000, 30000) { // 4 KiB each
		large[0].length = uint16(1 + i%30000)
		r.give(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 2000), message(true, 0, 1, templateSet(true, 256, large)))
	}
	r.check(t)
	if r.store.octets > maxDefinitions+1<<20 {
		t.Errorf("definitions take %d octets", r.store.octets)
	}
}

// Very many exporters, each with its templates and data before them.
func TestManyExporters(t *testing.T) {
	n := soak(20000, 100000)
	r := newRig(t, 64, nil)
	fields := ids(8, 4, 12, 4, 1, 4, 2, 4)
	f := random(rand.New(rand.NewPCG(6, 6)), false)
	data, announce := message(false, 0, 1, set(256, f.record(fields))), message(false, 1, 1, templateSet(false, 256, fields))
	for i := range n {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 2000)
		r.give(from, data, announce, data)
	}
	got := len(r.take())
	if got != 2*n {
		t.Errorf("%d records of %d", got, 2*n)
	}
	if len(r.store.definitions) != 1 || r.store.templates != n {
		t.Errorf("%d definitions, %d templates", len(r.store.definitions), r.store.templates)
	}
	r.check(t)
}

func isMapped(a *[16]byte) bool { return netip.AddrFrom16(*a).Is4In6() }

// The template that a set announces may be that of a domain which is dropped
// to make room for the next one of the same set.
func TestRoomForSharedTemplate(t *testing.T) {
	r := newRig(t, 3, nil)
	shared := ids(8, 4, 12, 4, 1, 4, 2, 4)
	from := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 2000)
	}
	r.give(from(0), message(true, 0, 1, templateSet(true, 256, shared)))
	for i := range 16 {
		r.give(from(1+i), message(true, 0, 1, templateSet(true, 256, ids(8, 4, 12, 4, 1, uint16(1+i%8), 2, uint16(1+i/8)))))
	}
	others := maxTemplates - r.store.templates - 1
	r.store.templates += others // those of others leave room for one
	var records [][]byte
	for i, fields := range [][]spec{shared, ids(1, 4, 2, 4, 8, 4, 12, 4)} {
		records = append(records, (&builder{}).put(uint16(256+i), uint16(len(fields)), specs(fields, true)).b)
	}
	r.give(from(100), message(true, 0, 1, set(2, records...)))
	if r.store.templates -= others; r.src.dom.templates.Load() != 2 {
		t.Errorf("%d templates are known, lost %v", r.src.dom.templates.Load(), r.losses())
	}
	if gone := r.store.domains[exporter.ID{Version: 10, Source: from(0), Domain: 1}] == nil; !gone {
		t.Error("nobody has made room")
	}
	r.check(t)
}

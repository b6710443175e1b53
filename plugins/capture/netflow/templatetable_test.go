package main

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// A table gives what a map would, over announcements and withdrawals at random.
func TestTemplateTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	st := newStore()
	d := &domain{}
	d.table.Store(emptyTable)
	st.domains[d.id] = d
	want := map[uint16]*template{}
	for i := range 20000 {
		id := uint16(256 + rng.IntN(300)*rng.IntN(3))
		if rng.IntN(3) == 0 {
			st.put(d, id, nil)
			delete(want, id)
		} else {
			x, err := compile(string(rune('a'+rng.IntN(20))), []field{{id: 8, length: 4}}, false, 0)
			if err != nil {
				t.Fatal(err)
			}
			x = st.share(x)
			st.put(d, id, x)
			st.release(x)
			want[id] = x
		}
		if got := d.table.Load().find(id); got != want[id] {
			t.Fatalf("change %d: %d is %p, want %p", i, id, got, want[id])
		}
		if i%100 == 0 {
			n := 0
			d.table.Load().each(func(id uint16, x *template) {
				if n++; x != want[id] {
					t.Fatalf("change %d: %d is %p, want %p", i, id, x, want[id])
				}
			})
			if n != len(want) {
				t.Fatalf("change %d: %d templates, want %d", i, n, len(want))
			}
			st.verify(t)
		}
	}
	if n := len(d.table.Load().ids); n > 4096 {
		t.Errorf("%d slots for %d templates", n, len(want))
	}
}

// Whoever forges announcements, of the very domain that another worker decodes
// and of a thousand others, takes nothing from what that decodes: each record has
// one of the two layouts that its template had.
func TestAnnouncementsWhileDecoding(t *testing.T) {
	r := newRig(t, 512, nil)
	layouts := [2][]spec{basic, ids(12, 4, 8, 4, 2, 4, 1, 4, 4, 1)}
	r.give(device, message(true, 0, 1, templateSet(true, 256, layouts[0])))
	var forgers sync.WaitGroup
	var stop atomic.Bool
	for k := range 2 {
		forger := newRig(t, 16, r.store)
		forgers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				forger.give(device, message(true, 0, 1, templateSet(true, 256, layouts[i%2]), templateSet(true, uint16(300+i%500), layouts[i%2])))
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(k), byte(i >> 8 & 3), byte(i)}), 2055)
				forger.give(from, message(true, 0, uint32(i%7), templateSet(true, uint16(256+i%700), layouts[i%2])))
			}
		})
	}
	data := message(true, 0, 1, set(256, basicRecord(17)))
	n := 0
	for range 20000 {
		r.give(device, data)
		if len(r.records) > 256 {
			n += len(r.take())
		}
	}
	stop.Store(true)
	forgers.Wait()
	n += len(r.take())
	lost := r.losses()
	if n == 0 || n+int(lost["no_counters"]+lost["impossible_counters"]) != 20000 {
		t.Errorf("%d records, lost %v", n, lost)
	}
	r.store.verify(t)
}

package pipeline

import (
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// What a killed process had not handed on is booked: the ledger adds up, and
// what it calls used is what the engine has.
func TestLostWithProcess(t *testing.T) {
	b := newLoopBed(t, engine.Options{})
	r, err := ring.CreateDelta("test", 64, 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ring.OpenDelta(r.File())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	in := b.add(r)
	in.close = func() { r.Close() }
	host := func(n byte, packets uint32) ring.Delta {
		d := ring.Delta{
			Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: 1, Group: 1, SpanMs: 50, Packets: uint64(packets), Sampling: 1, Samples: packets,
			Addr: netip.AddrFrom4([4]byte{10, 0, 0, n}).As16(),
		}
		return d
	}
	write := func(f ring.Flush, deltas ...ring.Delta) {
		f.Kind, f.Generation, f.Revision, f.WindowEnd = ring.KindFlush, 1, 1, b.now
		if batch := append([]ring.Delta{*f.AsDelta()}, deltas...); w.Write(batch) != len(batch) {
			t.Fatal("no room")
		}
	}
	write(ring.Flush{Number: 1, Received: 110, Counted: 100, DroppedTotal: 10, Deltas: 3, Samples: 80, Held: 20},
		ring.Delta{Kind: ring.KindLoss, Packets: 10, ID: 0}, host(1, 50), host(2, 30))
	b.loop.turn()
	row := func() (received, used, inFlight, lost uint64) {
		x := b.loop.ledger([]*capture{in.capture})[0]
		sum := x.Used + x.InFlight
		for _, n := range x.Dropped {
			sum += n
		}
		if x.Received != sum {
			t.Fatalf("the ledger does not add up: %+v", x)
		}
		return x.Received, x.Used, x.InFlight, x.Dropped[lostWithProcess]
	}
	if received, used, inFlight, lost := row(); received != 110 || used != 80 || inFlight != 20 || lost != 0 {
		t.Errorf("received %d, used %d, in flight %d, lost %d", received, used, inFlight, lost)
	}
	// It dies in the middle of its next flush, having received 40 since then.
	write(ring.Flush{Number: 2, Received: 160, Counted: 150, DroppedTotal: 10, Deltas: 2, Samples: 60, Held: 10}, host(1, 45))
	w.SetStats(ring.Stats{Received: 200, Counted: 190, Dropped: 10})
	b.loop.finish(in)
	received, used, inFlight, lost := row()
	if received != 200 || used != 125 || inFlight != 0 || lost != 65 {
		t.Errorf("received %d, used %d, in flight %d, lost %d", received, used, inFlight, lost)
	}
	packets := uint64(0)
	for _, x := range b.loop.engine.Totals() {
		packets += x.Packets[0]
	}
	if packets != used {
		t.Errorf("the engine has %d packets, the ledger says %d", packets, used)
	}
}

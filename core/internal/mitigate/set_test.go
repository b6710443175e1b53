package mitigate

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// known is an event of an attack of which much is known.
func known(n int) sdk.Event {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	e := sdk.Event{
		ID: fmt.Sprintf("%016x", n), Target: target(n), Direction: "incoming", HostGroup: "customers", Network: "10.0.0.0/8", Pipeline: "main",
		Time: time.Unix(1_700_000_000, 0), Started: time.Unix(1_700_000_000, 0), Label: "dns_amplification", AttackType: "udp_flood", Protocol: "udp", PeakPPS: r.Float64(),
	}
	for i := range 24 {
		rate := sdk.CounterRate{Counter: fmt.Sprint("a_counter_", i), PPS: r.Float64(), BPS: r.Float64()}
		e.Incoming, e.Outgoing = append(e.Incoming, rate), append(e.Outgoing, rate)
	}
	x := &sdk.EvidenceReport{Complete: true, Basis: "packets", Parts: []sdk.LabelPart{{Label: "dns_amplification", Share: 0.7}, {Label: "syn_flood", Share: 0.3}}}
	for i := range 20 {
		x.Reasons = append(x.Reasons, strings.Repeat("because ", 10))
		x.Timeline = append(x.Timeline, sdk.TimelinePoint{Second: i, PPS: r.Float64(), BPS: r.Float64()})
		top := sdk.Top{Name: fmt.Sprint("top_", i)}
		for range 20 {
			top.Rows = append(top.Rows, sdk.TopRow{Value: fmt.Sprint(r.Uint64()), Packets: r.Uint64(), Bytes: r.Uint64(), Share: r.Float64()})
		}
		x.Tops = append(x.Tops, top)
	}
	e.Evidence = x
	return e
}

// octets is what a set takes on its way, roughly: gob writes much as the protocol
// does.
func octets(t *testing.T, set []sdk.Mitigation) int {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(set); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// As many mitigations as there may be go in one message: a process that starts is
// told of all of them, with what tells the kind of each attack, and of the newest
// with all that is known.
func TestTheLargestSetFitsAMessage(t *testing.T) {
	s := newStage(t, wide(maxEntries, maxEntries, 1))
	var kinds [16]sdk.Event
	for i := range kinds {
		kinds[i] = known(i)
	}
	for i := range maxEntries {
		event := kinds[i%len(kinds)]
		event.ID, event.Target = fmt.Sprintf("%016x", i), target(i)
		e := &entry{
			ID: fmt.Sprintf("%012x", i), Action: Action{block, "p"}, Target: target(i), Direction: "incoming", AttackID: event.ID, Event: event,
			Requested: s.now.Wall.Add(time.Duration(i)), Desired: true, State: sdk.MitigationActive,
		}
		s.m.byID[e.ID], s.m.byKey[e.key()] = e, e
	}
	set, _ := s.m.Set(block)
	if len(set) != maxEntries {
		t.Fatalf("%d of %d", len(set), maxEntries)
	}
	size := octets(t, set)
	t.Logf("%d octets", size)
	if size > host.MaxMessage {
		t.Errorf("the set has %d octets, a message %d at most", size, host.MaxMessage)
	}
	for i := range set {
		x := set[i].Event.Evidence
		if x == nil || !x.Complete || len(x.Parts) != 2 || set[i].Event.Label == "" {
			t.Fatalf("%d: %+v", i, set[i].Event)
		}
	}
	first, last := &set[0].Event, &set[len(set)-1].Event
	if len(first.Evidence.Tops) != 0 || len(last.Evidence.Tops) != 20 || len(last.Incoming) != 24 || len(last.Evidence.Reasons) != 20 {
		t.Errorf("of the oldest %+v, of the newest %+v", first, last)
	}
	if e := s.m.byID[set[0].ID]; len(e.Event.Evidence.Tops) != 20 {
		t.Error("what is known of the oldest is forgotten")
	}
}

// Packets have room of their own: of the newest.
func TestDumpsOfTheNewest(t *testing.T) {
	left := room{dumps: 1000, details: maxDetails}
	for i, want := range []int{1, 0, 1} {
		e := known(i)
		e.Evidence.Dump = []sdk.Sample{{Data: make([]byte, []int{800, 800, 40}[i])}}
		all := e.Evidence
		left.furnish(&e)
		if len(e.Evidence.Dump) != want || len(e.Evidence.Tops) != 20 || len(all.Dump) != 1 {
			t.Errorf("%d: %d samples, %d tops", i, len(e.Evidence.Dump), len(e.Evidence.Tops))
		}
	}
}

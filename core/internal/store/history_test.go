package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func attackEvent(id string, kind sdk.EventType, seq uint32) *sdk.Event {
	c := sdk.Crossing{Threshold: "flood", Scope: "host", Counter: "total", Unit: "pps", Value: 2, Limit: 1, At: epoch}
	return &sdk.Event{
		Type: kind, ID: id, Seq: seq, Started: epoch, Time: epoch.Add(time.Duration(seq) * time.Second), Direction: "incoming", HostGroup: "default",
		AttackType: "udp_flood", PeakPPS: float64(1000 * seq), Crossing: c, Crossed: []sdk.Crossing{c},
	}
}

func list(t *testing.T, r *Reader, q Query) []Attack {
	t.Helper()
	p, err := r.List(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p.Attacks
}

func TestAnAttackFromStartToEnd(t *testing.T) {
	h := history(t, historyPath(t), forever)
	h.Offer(attackEvent("a", sdk.AttackStarted, 1))
	r := settled(t, h)
	if got := list(t, r, Query{State: StateOpen, Label: "udp_flood"}); len(got) != 1 || !got[0].Ended.IsZero() {
		t.Fatalf("started: %+v", got)
	}
	e := attackEvent("a", sdk.AttackUpdated, 2)
	e.Label, e.Evidence = "dns_reflection", evidenceOf(rand.New(rand.NewPCG(1, 1)))
	e.Crossed = append(e.Crossed, sdk.Crossing{Threshold: "dns"})
	h.Offer(e)
	settled(t, h)
	if len(list(t, r, Query{Label: "udp_flood"})) != 0 || len(list(t, r, Query{Label: "dns_reflection", Threshold: "dns", MinPeak: 2000})) != 1 {
		t.Error("the label has not changed")
	}
	if e.Evidence.Dump == nil {
		t.Error("the event of others was changed")
	}
	end := attackEvent("a", sdk.AttackEnded, 3)
	end.Label, end.Evidence = e.Label, e.Evidence
	h.Offer(end)
	settled(t, h)
	got := list(t, r, Query{State: StateEnded})
	if len(got) != 1 || got[0].Ended != end.Time || len(got[0].Event.Evidence.Tops) != 5 || got[0].Event.Evidence.Dump != nil {
		t.Errorf("ended: %+v", got)
	}
	if len(list(t, r, Query{State: StateOpen})) != 0 || len(list(t, r, Query{})) != 1 {
		t.Error("it is listed twice, or as open")
	}
	h.Offer(&sdk.Event{Type: sdk.AttackStarted, ID: "s", Started: epoch, Summary: &sdk.Summary{}})
	settled(t, h)
	if len(list(t, r, Query{})) != 1 {
		t.Error("a summary is an attack")
	}
}

// What a run has left open is interrupted in the next one, and for a reader
// when no daemon runs.
func TestInterrupted(t *testing.T) {
	path := historyPath(t)
	fill(t, path, 1, func() sdk.Event { return *attackEvent("left", sdk.AttackUpdated, 5) }) // as a daemon that was killed
	r := reader(t, path)
	if got := list(t, r, Query{State: StateInterrupted}); len(got) != 1 || got[0].State != StateInterrupted || got[0].Ended != epoch.Add(5*time.Second) {
		t.Errorf("no daemon runs: %+v", got)
	}
	if len(list(t, r, Query{State: StateOpen})) != 0 {
		t.Error("open without a daemon")
	}
	_ = r.Close()
	h := history(t, path, forever)
	h.Offer(attackEvent("new", sdk.AttackStarted, 1))
	r = settled(t, h)
	if got := list(t, r, Query{State: StateInterrupted}); len(got) != 1 || got[0].Event.ID != "left" {
		t.Errorf("in the next run: %+v", got)
	}
	if got := list(t, r, Query{State: StateOpen}); len(got) != 1 || got[0].Event.ID != "new" {
		t.Errorf("of this run: %+v", got)
	}
	h.Close()
	if got := list(t, reader(t, path), Query{State: StateInterrupted}); len(got) != 2 {
		t.Errorf("after a planned stop: %+v", got)
	}
}

// A storm is written in few transactions, and an attack's newest event counts.
func TestAStorm(t *testing.T) {
	h := history(t, historyPath(t), forever)
	const attacks = 1500
	for seq := uint32(1); seq <= 5; seq++ {
		for i := range attacks {
			kind := []sdk.EventType{sdk.AttackStarted, sdk.AttackUpdated, sdk.AttackUpdated, sdk.AttackUpdated, sdk.AttackEnded}[seq-1]
			h.Offer(attackEvent(fmt.Sprintf("a%06d", i), kind, seq))
		}
	}
	r := settled(t, h)
	ids := map[string]bool{}
	q := Query{State: StateEnded, Limit: MaxPage, MinPeak: 5000}
	for {
		p, err := r.List(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Attacks {
			ids[p.Attacks[i].Event.ID] = true
		}
		if q.After = p.Next; p.Next == "" {
			break
		}
	}
	if len(ids) != attacks {
		t.Errorf("%d of %d attacks have ended", len(ids), attacks)
	}
	for _, m := range h.Metrics() {
		if m.Name == "history_lost_total" && m.Value != 0 {
			t.Errorf("%v lost", m.Value)
		}
	}
}

// While the file cannot be opened attacks wait, so many and no more.
func TestWhatFindsNoRoomIsCounted(t *testing.T) {
	path := historyPath(t)
	other := open(t, path, Options{}, makeThings) // of another kind, and locked
	h := history(t, path, forever)
	for i := range maxPending + 100 {
		e := attackEvent(fmt.Sprintf("a%06d", i), sdk.AttackStarted, 1)
		e.Evidence = &sdk.EvidenceReport{Samples: 1}
		h.Offer(e)
	}
	for began := time.Now(); len(h.Troubles()) == 0 && time.Since(began) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
	}
	h.mu.Lock()
	pending, lost, evidence := len(h.pending), h.lost, h.evidence
	h.mu.Unlock()
	if pending != maxPending || lost != 100 || evidence != maxEvidence {
		t.Errorf("%d wait, %d with evidence, %d are lost", pending, evidence, lost)
	}
	if got := strings.Join(h.Troubles(), "\n"); !strings.Contains(got, ErrLocked.Error()) || !strings.Contains(got, "8192 attacks wait and 100 events are lost") {
		t.Errorf("troubles: %s", got)
	}
	if _, err := h.Reader(); !errors.Is(err, ErrNotOpen) || !errors.Is(err, ErrLocked) {
		t.Errorf("reading: %v", err)
	}
	other.end(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r := settled(t, h)
	if got := h.Troubles(); len(got) != 0 || len(list(t, r, Query{Limit: MaxPage})) != MaxPage {
		t.Errorf("once it can be opened: %q", got)
	}
}

func TestADamagedHistory(t *testing.T) {
	path := historyPath(t)
	if err := os.WriteFile(path, bytes.Repeat([]byte("nonsense"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	h := history(t, path, forever)
	h.Offer(attackEvent("a", sdk.AttackStarted, 1))
	r := settled(t, h)
	if got := h.Troubles(); len(got) != 1 || !strings.Contains(got[0], path+".damaged-") {
		t.Fatalf("troubles: %q", got)
	}
	// And while it is in use.
	if err := os.Truncate(path, 8<<10); err != nil {
		t.Fatal(err)
	}
	h.Offer(attackEvent("a", sdk.AttackUpdated, 2))
	h.Offer(attackEvent("b", sdk.AttackStarted, 1))
	settled(t, h)
	if got := list(t, r, Query{State: StateOpen}); len(got) != 2 {
		t.Errorf("a new one has %+v", got)
	}
	if got := h.Troubles(); len(got) != 2 {
		t.Errorf("troubles: %q", got)
	}
	for _, name := range asides(t, path) {
		if err := os.Rename(name, filepath.Join(t.TempDir(), "kept")); err != nil {
			t.Fatal(err)
		}
	}
	h.findAsides() // which it does once a minute
	if got := h.Troubles(); len(got) != 0 {
		t.Errorf("moved away, yet %q", got)
	}
}

func TestAHistoryTakenAway(t *testing.T) {
	path := historyPath(t)
	h := history(t, path, forever)
	h.Offer(attackEvent("a", sdk.AttackStarted, 1))
	settled(t, h)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	h.Offer(attackEvent("b", sdk.AttackStarted, 1))
	r := settled(t, h)
	if got := list(t, r, Query{}); len(got) != 1 || got[0].Event.ID != "b" {
		t.Errorf("a new one has %+v", got)
	}
}

func TestRetentionByAge(t *testing.T) {
	path := historyPath(t)
	now := time.Now()
	n := 0
	fill(t, path, 1500, func() sdk.Event {
		n++
		e := attackEvent(fmt.Sprintf("a%05d", n), sdk.AttackEnded, 1)
		e.Started = now.Add(-time.Duration(1501-n) * time.Hour)
		e.Time = e.Started.Add(time.Minute)
		return *e
	})
	h := history(t, path, func() Retention { return Retention{Keep: 100*time.Hour + time.Minute} })
	h.Offer(attackEvent("open", sdk.AttackStarted, 1)) // of long ago, and it goes on
	r := settled(t, h)
	for began := time.Now(); len(list(t, r, Query{Limit: MaxPage})) != 101; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%d are left", len(list(t, r, Query{Limit: MaxPage})))
		}
	}
	if _, err := r.Get("a01400"); !errors.Is(err, ErrNoAttack) {
		t.Errorf("one that is too old: %v", err)
	}
	left := 0
	if err := r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(indexBucket).ForEach(func(_, _ []byte) error { left++; return nil })
	}); err != nil || left > 101*6 {
		t.Errorf("%d entries of the index are left: %v", left, err)
	}
}

func TestRetentionBySize(t *testing.T) {
	path := historyPath(t)
	m := &made{r: rand.New(rand.NewPCG(1, 1)), gap: time.Minute}
	noise := make([]byte, 16<<10)
	events := fill(t, path, 1800, func() sdk.Event {
		e := m.next()
		for i := range noise {
			noise[i] = ' ' + byte(m.r.IntN(90))
		}
		e.Suspended = string(noise)
		return e
	})
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	const most = 7 << 20
	if before.Size() < 2*most {
		t.Fatalf("only %d octets", before.Size())
	}
	h := history(t, path, func() Retention { return Retention{Max: most} })
	newest := events[len(events)-1]
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if now, err := os.Stat(path); err == nil && now.Size() <= 8<<20 { // it grows by doubling
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("it does not become smaller")
		}
	}
	h.Offer(attackEvent("a", sdk.AttackStarted, 1))
	r := settled(t, h)
	if _, err := r.Get(newest.ID); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
	if _, err := r.Get(events[0].ID); !errors.Is(err, ErrNoAttack) {
		t.Errorf("the oldest is there: %v", err)
	}
}

// A number that is none cannot be kept, nor what is too large; the rest can.
func TestWhatCannotBeKept(t *testing.T) {
	large := attackEvent("large", sdk.AttackStarted, 1)
	large.Label = strings.Repeat("x", maxRecord)
	if _, err := new(encoder).encode(large); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than are kept of one attack, %d", maxRecord)) {
		t.Errorf("too large: %v", err)
	}
	h := history(t, historyPath(t), forever)
	bad := attackEvent("bad", sdk.AttackStarted, 1)
	bad.PeakPPS = math.NaN()
	h.Offer(bad)
	e := attackEvent(strings.Repeat("x", 200), sdk.AttackStarted, 1)
	e.HostGroup, e.Label = "\xff\x00=cmd|' /C calc'!A0"+strings.Repeat("y", 100_000), "\x1b[2J"
	h.Offer(e)
	r := settled(t, h)
	if got := list(t, r, Query{}); len(got) != 1 || got[0].Event.Label != "\x1b[2J" {
		t.Errorf("%d attacks", len(got))
	}
}

// TestTheFirstVersion reads a history as the first version has written it:
// whoever changes how attacks are kept writes a migration that makes this pass.
func TestTheFirstVersion(t *testing.T) {
	const golden = "testdata/history-v1.db.gz"
	m := &made{r: rand.New(rand.NewPCG(7, 7)), gap: time.Hour}
	m.long = true
	var events []sdk.Event
	for range 5 {
		events = append(events, m.next())
	}
	if *update {
		path := historyPath(t)
		i := 0
		fill(t, path, len(events), func() sdk.Event { i++; return events[i-1] })
		writeGolden(t, path, golden)
	}
	f, err := os.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := historyPath(t)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	h := history(t, path, forever)
	r := settled(t, h)
	slices.Reverse(events)
	got := list(t, r, Query{})
	if len(got) != len(events) || len(h.Troubles()) > 0 {
		t.Fatalf("%d attacks, %q", len(got), h.Troubles())
	}
	for i := range got {
		e, want := &got[i].Event, &events[i]
		if e.ID != want.ID || e.Target != want.Target || e.Label != want.Label || e.PeakPPS != want.PeakPPS || !e.Started.Equal(want.Started) ||
			len(e.Evidence.Tops) != 5 || e.Evidence.Timeline[59] != want.Evidence.Timeline[59] || e.Crossed[0].Limit != 1000 || e.Threshold != "flood" {
			t.Errorf("attack %d is %+v\nwant %+v", i, e, want)
		}
	}
}

func writeGolden(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file that is checked and found whole, and yet cannot be written, is a trouble, and
// is tried again after a pause.
func TestAHistoryThatOnlyLooksWhole(t *testing.T) {
	path := historyPath(t)
	db, err := Open(path, Options{Kind: historyKind}, historyMigrations...)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(namesBucket) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h := OpenHistory(HistoryOptions{Path: path, Retention: forever, Log: hclog.NewNullLogger(), Again: time.Hour})
	defer h.Close()
	h.Offer(attackEvent("a", sdk.AttackStarted, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h.Settle(ctx)
	if got := h.Troubles(); len(got) != 1 || !strings.Contains(got[0], "1 attacks wait") || !strings.Contains(got[0], "damaged") {
		t.Errorf("troubles: %q", got)
	}
}

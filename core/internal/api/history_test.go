package api

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func pastAttack(seq uint32) store.Attack {
	return store.Attack{Event: event(seq), State: store.StateEnded, Ended: moment.Add(time.Hour), Cursor: "c"}
}

var alike = []cmp.Option{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(store.Attack{}, "Cursor"),
}

func TestHistoryOverTheSocket(t *testing.T) {
	f := healthy()
	f.past.page = store.Page{Attacks: []store.Attack{pastAttack(2), pastAttack(1)}, Next: "00ff", Damaged: 3}
	tallies := []store.Tally{{Name: "x", Attacks: 1, Before: 2, Duration: time.Hour, PeakPPS: 4}}
	f.past.summary = store.Summary{
		Now: store.Totals{Attacks: 1, Open: 2, Interrupted: 3, Targets: 4, Duration: 5, PeakPPS: 6}, Before: store.Totals{Attacks: 7},
		Labels: tallies, Groups: tallies, Targets: tallies, Days: tallies, Longest: f.past.page.Attacks, Largest: f.past.page.Attacks[:1], AtLeast: true,
	}
	f.past.file = bytes.Repeat([]byte("packets "), 50_000)
	c := client(t, start(t, f))
	q := store.Query{
		Since: moment, Until: moment.Add(time.Hour), Target: netip.MustParsePrefix("192.0.2.0/24"), Label: "l", Group: "g", Threshold: "t",
		State: store.StateInterrupted, MinPeak: 12.5, Limit: 7, After: "0a",
	}
	page, err := c.History(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f.past.page, page, alike...) + cmp.Diff(q, f.past.asked, alike...); d != "" {
		t.Error(d)
	}
	one, err := c.Attack(t.Context(), "a1")
	if d := cmp.Diff(pastAttack(2), one, alike...); d != "" || err != nil {
		t.Error(d, err)
	}
	sum, err := c.HistorySummary(t.Context(), moment, moment.Add(time.Hour))
	if d := cmp.Diff(f.past.summary, sum, alike...); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := c.HistorySummary(t.Context(), time.Time{}, moment); err != nil || f.past.summary.Since != moment.Add(-Week) {
		t.Errorf("a week by default: %v %v", f.past.summary.Since, err)
	}
	file, err := c.AttackFile(t.Context(), "a1", FilePackets)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Content.Close()
	content, err := io.ReadAll(file.Content)
	if err != nil || !bytes.Equal(content, f.past.file) || file.Name != "a1.pcap" || file.Size != int64(len(content)) {
		t.Errorf("%q of %d octets: %v", file.Name, len(content), err)
	}
}

func TestWhatTheHistoryRefuses(t *testing.T) {
	f := healthy()
	c := client(t, start(t, f))
	for name, bad := range map[string]store.Query{"limit": {Limit: store.MaxPage + 1}, "peak": {MinPeak: math.NaN()}} {
		if _, err := c.History(t.Context(), bad); !errors.Is(err, ErrBadQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]*apiv1.HistoryRequest{
		"limit": {Limit: store.MaxPage + 1}, "target": {Target: "x"}, "state": {State: "over"}, "peak": {MinPeakPps: math.Inf(1)}, "negative": {MinPeakPps: -1},
	} {
		if _, err := c.rpc.History(t.Context(), bad); !errors.Is(c.explain(err), ErrBadQuery) {
			t.Errorf("%s: the server says %v", name, err)
		}
	}
	if _, err := c.Attack(t.Context(), "zz"); err == nil || err.Error() != store.ErrNoAttack.Error() {
		t.Errorf("no such attack: %v", err)
	}
	if _, err := c.AttackFile(t.Context(), "a1", FileReport); err == nil || !strings.Contains(err.Error(), "it was removed") {
		t.Errorf("no such file: %v", err)
	}
	if _, err := c.AttackFile(t.Context(), "a1", "passwords"); !errors.Is(err, ErrBadQuery) {
		t.Errorf("no such kind: %v", err)
	}
	if _, err := c.HistorySummary(t.Context(), moment, moment); !errors.Is(err, ErrBadQuery) {
		t.Errorf("no period: %v", err)
	}
	f.past.err = store.ErrBadCursor
	if _, err := c.History(t.Context(), store.Query{}); !errors.Is(err, ErrBadQuery) {
		t.Errorf("no cursor: %v", err)
	}
	f.past.err = store.ErrNotOpen
	if _, err := c.History(t.Context(), store.Query{}); err == nil || err.Error() != store.ErrNotOpen.Error() {
		t.Errorf("not open: %v", err)
	}
}

// A page of attacks with much evidence ends early, and the next one goes on
// where it did.
func TestALargePageEndsEarly(t *testing.T) {
	f := healthy()
	for i := range uint32(300) {
		a := pastAttack(i)
		a.Event.Evidence = &sdk.EvidenceReport{Reasons: []string{strings.Repeat("x", 100_000)}}
		a.Cursor = strings.Repeat("0", 30) + string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})
		f.past.page.Attacks = append(f.past.page.Attacks, a)
	}
	page, err := client(t, start(t, f)).History(t.Context(), store.Query{Limit: store.MaxPage})
	n := len(page.Attacks)
	if err != nil || n < 50 || n >= 300 || page.Next != f.past.page.Attacks[n-1].Cursor {
		t.Errorf("%d attacks, then %q: %v", n, page.Next, err)
	}
}

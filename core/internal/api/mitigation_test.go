package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func told(id string) sdk.MitigationReport {
	return sdk.MitigationReport{
		ID: id, AttackID: "a1", Target: netip.MustParsePrefix("203.0.113.7/32"), Direction: "incoming", HostGroup: "g", Action: "action.a.b.c",
		State: sdk.MitigationActive, Cause: "so", Time: moment, Requested: moment, Expires: moment.Add(time.Hour), By: "root", Reason: "why",
		Announcements: []string{"203.0.113.7/32"}, Peers: []sdk.PeerStatus{{Peer: "p", State: sdk.MitigationActive, Cause: "up"}},
	}
}

func (f *fake) Mitigations(_ context.Context, history int) ([]sdk.MitigationReport, error) {
	return []sdk.MitigationReport{told(fmt.Sprint(history))}, nil
}

func (f *fake) Audit(_ context.Context, most int) ([]mitigate.Audit, error) {
	return []mitigate.Audit{{Time: moment, Who: "root", What: "ban", ID: fmt.Sprint(most), Target: "t", Action: "a", Reason: "r", Result: "done"}}, nil
}

func (f *fake) Ban(_ context.Context, q BanQuery) ([]sdk.MitigationReport, error) {
	r := told("ban")
	r.By, r.Reason, r.Target, r.Direction = q.Who, q.Reason, q.Target, q.Direction
	r.Announcements = append(append(q.Actions, q.For.String()), q.Set["key"]...)
	return []sdk.MitigationReport{r}, nil
}

func (f *fake) Unban(_ context.Context, q UnbanQuery) ([]sdk.MitigationReport, error) {
	if q.ID == "none" {
		return nil, fmt.Errorf("%w: there is none", ErrBadQuery)
	}
	r := told(fmt.Sprint(q.ID, q.Prefix, q.All))
	r.By = q.Who
	return []sdk.MitigationReport{r}, nil
}

func (f *fake) Decide(_ context.Context, q DecideQuery) ([]sdk.MitigationReport, error) {
	r := told(fmt.Sprint(q.ID, q.Release))
	r.By = q.Who
	return []sdk.MitigationReport{r}, nil
}

func (f *fake) TestAction(_ context.Context, name string, target netip.Prefix) (ActionTest, error) {
	return ActionTest{Lines: []string{name, target.String()}, Failed: true}, nil
}

// What people ask for arrives with the name of the user whose process asks.
func TestMitigationCalls(t *testing.T) {
	c := client(t, start(t, healthy()))
	ctx := t.Context()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	target := netip.MustParsePrefix("203.0.113.0/24")
	banned := told("ban")
	banned.By, banned.Reason, banned.Target, banned.Announcements = me.Username, "why", target, []string{"x", "2h0m0s", "v", "w"}
	by := func(id string) []sdk.MitigationReport {
		r := told(id)
		r.By = me.Username
		return []sdk.MitigationReport{r}
	}
	entry := mitigate.Audit{Time: moment, Who: "root", What: "ban", ID: "7", Target: "t", Action: "a", Reason: "r", Result: "done"}
	for _, call := range []struct {
		name string
		ask  func() (any, error)
		want any
	}{
		{"Mitigations", func() (any, error) { return c.Mitigations(ctx, 0) }, []sdk.MitigationReport{told("0")}},
		{"history", func() (any, error) { return c.Mitigations(ctx, 9999) }, []sdk.MitigationReport{told("1000")}},
		{"Audit", func() (any, error) { return c.Audit(ctx, 7) }, []mitigate.Audit{entry}},
		{"Ban", func() (any, error) {
			return c.Ban(ctx, BanQuery{Who: "somebody else", Target: target, For: 2 * time.Hour, Reason: "why", Actions: []string{"x"}, Set: map[string][]string{"key": {"v", "w"}}})
		}, []sdk.MitigationReport{banned}},
		{"Unban", func() (any, error) { return c.Unban(ctx, UnbanQuery{Prefix: target}) }, by("203.0.113.0/24 false")},
		{"Decide", func() (any, error) { return c.Decide(ctx, DecideQuery{ID: "m", Release: true}) }, by("mtrue")},
		{"TestAction", func() (any, error) { return c.TestAction(ctx, "n", target) }, ActionTest{[]string{"n", "203.0.113.0/24"}, true}},
	} {
		t.Run(call.name, func(t *testing.T) {
			got, err := call.ask()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(call.want, got, equal...); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBadMitigationQueries(t *testing.T) {
	c := client(t, start(t, healthy()))
	target := netip.MustParsePrefix("203.0.113.7/32")
	for name, q := range map[string]BanQuery{
		"no time":          {Target: target},
		"too long":         {Target: target, For: 1000 * 24 * time.Hour},
		"no target":        {For: time.Hour},
		"mapped":           {Target: netip.MustParsePrefix("::ffff:10.0.0.1/128"), For: time.Hour},
		"direction":        {Target: target, For: time.Hour, Direction: "sideways"},
		"no reason":        {Target: target, For: time.Hour, Reason: " "},
		"a long reason":    {Target: target, For: time.Hour, Reason: strings.Repeat("x", 501)},
		"too many actions": {Target: target, For: time.Hour, Actions: make([]string, 33)},
	} {
		if _, err := c.Ban(t.Context(), q); !errors.Is(err, ErrBadQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Unban(t.Context(), UnbanQuery{ID: "none"}); !errors.Is(err, ErrBadQuery) {
		t.Errorf("nothing to release: %v", err)
	}
}

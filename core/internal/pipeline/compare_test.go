package pipeline

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// span is an attack from a second to another one.
func span(target string, from, to int) Attack {
	p := netip.MustParsePrefix(target)
	e := sdk.Event{Type: sdk.AttackStarted, Target: p, Direction: "incoming", Time: time.Unix(int64(from), 0)}
	last := e
	last.Type, last.Time = sdk.AttackEnded, time.Unix(int64(to), 0)
	return Attack{First: e, Last: last}
}

// wide is an attack on a scope that has several prefixes.
func wide(scope, name string, from, to int) Attack {
	a := span("203.0.113.1/32", from, to)
	for _, e := range []*sdk.Event{&a.First, &a.Last} {
		e.Target, e.Scope, e.HostGroup, e.Network = netip.Prefix{}, scope, name, "ours"
	}
	return a
}

// last is the last octet of an address.
func last(p netip.Prefix) uint8 {
	if !p.IsValid() {
		return 0
	}
	return p.Addr().As4()[3]
}

func TestCompare(t *testing.T) {
	a, b := "203.0.113.1/32", "203.0.113.2/32"
	for name, c := range map[string]struct {
		config, against []Attack
		want            string
	}{
		"nothing":                      {nil, nil, ""},
		"both, one later":              {[]Attack{span(a, 1, 30)}, []Attack{span(a, 5, 40)}, "1s .1 1+1"},
		"apart in time":                {[]Attack{span(a, 1, 30)}, []Attack{span(a, 31, 40)}, "1s .1 1+0, 31s .1 0+1"},
		"one long, two short":          {[]Attack{span(a, 1, 100)}, []Attack{span(a, 5, 40), span(a, 60, 90)}, "1s .1 1+2"},
		"a chain of both":              {[]Attack{span(a, 1, 10), span(a, 15, 30)}, []Attack{span(a, 9, 20)}, "1s .1 2+1"},
		"two targets, in their order":  {[]Attack{span(b, 5, 9)}, []Attack{span(a, 5, 9)}, "5s .1 0+1, 5s .2 1+0"},
		"a host in the other's prefix": {[]Attack{span(a, 5, 9), span(b, 20, 30)}, []Attack{span("203.0.113.0/24", 8, 12)}, "5s .1 1+0 in 203.0.113.0/24, 8s .0 0+1, 20s .2 1+0"},
		"a network is no hostgroup":    {[]Attack{wide("network", "", 1, 9)}, []Attack{wide("network", "", 1, 9), wide("hostgroup", "a", 2, 9), wide("hostgroup", "b", 2, 9)}, "1s .0 1+1, 2s .0 0+1 in network ours, 2s .0 0+1 in network ours"},
	} {
		var got []string
		for _, d := range Compare(c.config, c.against) {
			text := fmt.Sprintf("%ds .%d %d+%d", d.Start().Unix(), last(d.Target), len(d.Config), len(d.Against))
			for _, p := range d.Within {
				text += " in " + p
			}
			got = append(got, text)
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
	}
}

func TestAttacksOfEvents(t *testing.T) {
	var seen Attacks
	a := span("203.0.113.1/32", 1, 30)
	a.First.ID, a.Last.ID = "x", "x"
	update := a.First
	update.Type, update.PeakPPS = sdk.AttackUpdated, 7
	for _, o := range []Output{{Event: &a.First}, {Event: &update}, {Event: &a.Last}, {Finished: &Summary{Attacks: 1}}} {
		if err := seen.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen.All) != 1 || seen.All[0].Last.Time != a.Last.Time || seen.Finished.Attacks != 1 {
		t.Errorf("%+v", seen)
	}
}

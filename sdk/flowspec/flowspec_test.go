package flowspec

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestMatch(t *testing.T) {
	m := Match{
		Protocol: []string{"UDP", "132"}, Source: []netip.Prefix{netip.MustParsePrefix("198.51.100.9/24"), netip.MustParsePrefix("2001:db8::1/32")},
		SourcePort: []string{"53", "1024-2047"}, PacketLength: []string{"1000-1500"}, TCPFlags: []string{"syn", "!ACK"}, Fragment: []string{"is-fragment"},
	}
	got, err := m.Rule()
	if err != nil {
		t.Fatal(err)
	}
	want := &Rule{
		Protocols: []Protocol{{17, 17}, {132, 132}}, Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Numeric: map[Component][]Span{SourcePort: {{53, 53}, {1024, 2047}}, PacketLength: {{1000, 1500}}}, Set: syn, Clear: ack, Fragment: IsFragment,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if got.Conditions(false) != 6 || !got.Fits(true) || got.Source(true) != want.Sources[1] {
		t.Errorf("%d conditions, fits v6 %t, source %v", got.Conditions(false), got.Fits(true), got.Source(true))
	}
}

func TestMistakes(t *testing.T) {
	p := netip.MustParsePrefix("198.51.100.0/24")
	for _, c := range []struct {
		m          Match
		attr, want string
	}{
		{Match{}, "protocol", "no condition"},
		{Match{Protocol: []string{"quic"}}, "protocol", `"quic"`},
		{Match{Protocol: []string{"256"}}, "protocol", "255"},
		{Match{Source: []netip.Prefix{p, p}}, "source", "one source prefix"},
		{Match{Port: []string{"70000"}}, "port", "65535"},
		{Match{Port: []string{"9-1"}}, "port", "range"},
		{Match{DSCP: []string{"64"}}, "dscp", "63"},
		{Match{ICMPType: []string{"x"}}, "icmp_type", "255"},
		{Match{TCPFlags: []string{"xyz"}}, "tcp_flags", "fin, syn"},
		{Match{TCPFlags: []string{"syn", "!syn"}}, "tcp_flags", "set and not set"},
		{Match{Fragment: []string{"all"}}, "fragment", "is-fragment"},
	} {
		_, err := c.m.Rule()
		var bad *MatchError
		if !errors.As(err, &bad) || bad.Attr != c.attr || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.m, err)
		}
	}
}

func TestFamilies(t *testing.T) {
	only4 := Rule{Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	df := Rule{Fragment: DontFragment}
	if only4.Fits(true) || !only4.Fits(false) || df.Fits(true) || !df.Fits(false) {
		t.Error("a rule fits a family in which it says nothing")
	}
}

func TestForEvent(t *testing.T) {
	mixed := &sdk.EvidenceReport{Parts: []sdk.LabelPart{{Label: "ntp_reflection", Share: 0.6}, {Label: "syn_flood", Share: 0.35}, {Label: "udp_flood", Share: 0.05}, {Label: "other", Share: 0.5}}}
	for _, c := range []struct {
		e    sdk.Event
		want int
	}{
		{sdk.Event{Label: "ntp_reflection"}, 1},
		{sdk.Event{Label: "mixed", Evidence: mixed}, 2},
		{sdk.Event{Label: "mixed", Crossing: sdk.Crossing{Counter: "udp"}}, 1},
		{sdk.Event{Crossing: sdk.Crossing{Counter: "dns_reflection"}}, 1},
		{sdk.Event{Crossing: sdk.Crossing{Counter: "total"}}, 0},
		{sdk.Event{}, 0},
	} {
		if got := ForEvent(&c.e); len(got) != c.want {
			t.Errorf("%s, %s: %d rules, want %d", c.e.Label, c.e.Counter, len(got), c.want)
		}
	}
	// A rule by label never fits all traffic to the target, in either family.
	for name, r := range labels {
		if r.Conditions(false) == 0 || r.Conditions(true) == 0 || !r.Fits(true) {
			t.Errorf("the rule of %s has no condition", name)
		}
	}
	for name := range labels {
		if !slices.Contains(sdk.Labels(), name) {
			t.Errorf("there is a rule for %s, which is no label", name)
		}
	}
	for counter, label := range counters {
		if _, ok := labels[label]; !ok {
			t.Errorf("counter %s names the label %s, which has no rule", counter, label)
		}
	}
}

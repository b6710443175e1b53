package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// profileOf reads one announce block.
func profileOf(t *testing.T, a announce.Block) profile {
	t.Helper()
	a.Name = "p"
	all, ds := announce.Read([]announce.Block{a}, func(int) diag.Path { return nil })
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return profile{all["p"]}
}

func hostOf(target, subnet, label, counter string) *sdk.Mitigation {
	m := sdktest.Mitigation()
	m.Target, m.Subnet = netip.MustParsePrefix(target), netip.MustParsePrefix(subnet)
	m.Event.Label, m.Event.Counter = label, counter
	return &m
}

// Every label has the rule that is written down, in both families, or none at
// all.
func TestLabelRules(t *testing.T) {
	p := profileOf(t, announce.Block{Prefix: announce.PrefixHost, Then: announce.Discard})
	var b strings.Builder
	for _, label := range sdk.Labels() {
		for _, m := range []*sdk.Mitigation{hostOf("203.0.113.5/32", "203.0.113.0/24", label, "total"), hostOf("2001:db8::5/128", "2001:db8::/32", label, "total")} {
			routes, err := p.plan(m)
			if err != nil {
				fmt.Fprintf(&b, "%s: %v\n", label, err)
				continue
			}
			for _, r := range routes {
				fmt.Fprintf(&b, "%s: %s (%d)\n", label, r.nlri, r.matches)
				again, err := r.key.decode()
				if err != nil {
					t.Errorf("%s: %v", label, err)
				} else if again.String() != r.nlri.String() {
					t.Errorf("%s on the wire is %s", r.nlri, again)
				}
				if !r.discard || !r.flowSpec || r.matches < 1 {
					t.Errorf("%+v", r)
				}
			}
		}
	}
	sdktest.Golden(t, "testdata/labels.golden", b.String(), *update)
}

// What is announced, in words, or why it is not.
func TestPlan(t *testing.T) {
	hop := announce.Block{Prefix: announce.PrefixHost, NextHop: netip.MustParseAddr("192.0.2.66"), NextHopV6: netip.MustParseAddr("2001:db8:ffff::66"), NoExport: true}
	with := func(f func(*announce.Block)) announce.Block { a := hop; f(&a); return a }
	rule := func(f func(*announce.Block)) announce.Block {
		a := announce.Block{Prefix: announce.PrefixHost, Then: announce.Discard}
		f(&a)
		return a
	}
	size := sdk.Size(125000)
	dscp := 8
	four, six := hostOf("203.0.113.5/32", "203.0.113.0/24", "ntp_reflection", "udp"), hostOf("2001:db8:1::5/128", "2001:db8::/32", "ntp_reflection", "udp")
	overridden := *four
	overridden.Attributes = map[string][]string{"next_hop": {"192.0.2.67"}, "communities": {"65001:9"}}
	outgoing := *four
	outgoing.Direction = "outgoing"
	for _, c := range []struct {
		name string
		a    announce.Block
		m    *sdk.Mitigation
		want string // a part of the text, or of the error
	}{
		{"host", hop, four, "203.0.113.5/32 next hop 192.0.2.66 communities blackhole no-export"},
		{"host v6", hop, six, "2001:db8:1::5/128 next hop 2001:db8:ffff::66 communities blackhole no-export"},
		{"outgoing", hop, &outgoing, "203.0.113.5/32 next hop"},
		{"subnet", with(func(a *announce.Block) { a.Prefix = announce.PrefixSubnet; a.Divert = true }), four, "203.0.113.0/24 next hop 192.0.2.66 communities no-export"},
		{"wider", with(func(a *announce.Block) { a.PrefixLength = []int{28, 48} }), four, "203.0.113.0/28 next hop"},
		{"wider v6", with(func(a *announce.Block) { a.PrefixLength = []int{28, 48} }), six, "2001:db8:1::/48 next hop"},
		{"a prefix is not cut", with(func(a *announce.Block) { a.PrefixLength = []int{28, 48} }), hostOf("203.0.113.0/25", "203.0.113.0/24", "", ""), "203.0.113.0/25 next hop"},
		{"everything", with(func(a *announce.Block) {
			a.NoExport = false
			a.Communities, a.LargeCommunities, a.ExtendedCommunities = []string{"65001:1", "no-peer"}, []string{"1:2:3"}, []string{"rt:65001:5", "color:9"}
		}), four, "203.0.113.5/32 next hop 192.0.2.66 communities 65001:1 no-peer large communities 1:2:3 extended communities 65001:5"},
		{"hostgroup's", hop, &overridden, "203.0.113.5/32 next hop 192.0.2.67 communities 65001:9 no-export"},
		{"too wide", with(func(a *announce.Block) { a.PrefixLength = []int{16, 48} }), four, "more than our network 203.0.113.0/24"},
		{"outside", hop, hostOf("198.51.100.5/32", "203.0.113.0/24", "", ""), "lies outside 203.0.113.0/24"},
		{"other family", hop, hostOf("198.51.100.5/32", "2001:db8::/32", "", ""), "lies outside"},
		{"nowhere", hop, func() *sdk.Mitigation { m := *four; m.Subnet = netip.Prefix{}; return &m }(), "in none of our networks"},
		{"no target", hop, func() *sdk.Mitigation { m := *four; m.Target = netip.Prefix{}; return &m }(), "no single target"},
		{"mapped", hop, hostOf("::ffff:203.0.113.5/128", "::/0", "", ""), "written as IPv6"},
		{"default route", hop, hostOf("0.0.0.0/0", "0.0.0.0/0", "", ""), "default route"},
		{"no next hop", with(func(a *announce.Block) { a.NextHopV6 = netip.Addr{} }), six, `announce "p" has no next_hop_v6`},

		{"rule", rule(func(*announce.Block) {}), four, "[destination: 203.0.113.5/32][protocol: ==udp][source-port: ==123] discard"},
		{"rate", rule(func(a *announce.Block) { a.Then, a.BytesPerSecond = announce.RateLimit, &size }), four, "rate-limit 125000 bytes/s"},
		{"mark", rule(func(a *announce.Block) { a.Then, a.DSCP = announce.Mark, &dscp }), four, "mark dscp 8"},
		{"redirect", rule(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "65001:100" }), six, "redirect 65001:100"},
		{"redirect to v4", rule(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "192.0.2.99" }), four, "redirect 192.0.2.99"},
		{"redirect to v4 of v6", rule(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "192.0.2.99" }), six, "cannot be led to"},
		{"redirect to v6", rule(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "2001:db8::99" }), six, "redirect 2001:db8::99"},
		{"waits", rule(func(*announce.Block) {}), hostOf("203.0.113.5/32", "203.0.113.0/24", "", "total"), "waits for a label"},
		{"limits all", rule(func(a *announce.Block) { a.Then, a.BytesPerSecond = announce.RateLimit, &size }), hostOf("203.0.113.5/32", "203.0.113.0/24", "", "total"), "[destination: 203.0.113.5/32] rate-limit"},
		{"outgoing rule", rule(func(*announce.Block) {}), &outgoing, "to our hosts"},
		{"by hand", rule(func(a *announce.Block) {
			a.Matches = []flowspec.Match{{
				Protocol: []string{"tcp", "17"}, Source: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, DestinationPort: []string{"80", "8000-8080"},
				TCPFlags: []string{"syn", "!ack"}, Fragment: []string{"is-fragment"}, PacketLength: []string{"40-60"}, DSCP: []string{"0"},
			}}
		}), four, "[destination: 203.0.113.5/32][source: 198.51.100.0/24][protocol: ==tcp ==udp][destination-port: ==80 >=8000&<=8080][tcp-flags: =S&!A][packet-length: >=40&<=60][dscp: ==0][fragment: is-fragment] discard"},
		{"by hand, other family", rule(func(a *announce.Block) {
			a.Matches = []flowspec.Match{{Source: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}
		}), six, "for the family of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes, err := profileOf(t, c.a).plan(c.m)
			got := fmt.Sprint(err)
			if err == nil {
				var texts []string
				for _, r := range routes {
					texts = append(texts, r.text)
					if _, err := r.path(as{ourAS, false}); err != nil {
						t.Error(err)
					}
				}
				got = strings.Join(texts, "\n")
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

const ourAS = 65001

// Nobody is called because an attack has no label yet; what cannot be announced at
// all is a failure.
func TestWaitingIsNoFailure(t *testing.T) {
	m := hostOf("203.0.113.5/32", "203.0.113.0/24", "", "total")
	_, waits := profileOf(t, announce.Block{Prefix: announce.PrefixHost, Then: announce.Discard}).plan(m)
	for err, want := range map[error]sdk.MitigationState{waits: sdk.MitigationPending, errors.New("no such profile"): sdk.MitigationFailed} {
		st := new(action).statusOf(&held{Mitigation: *m, Err: err})
		if st.State != want || st.Cause != err.Error() {
			t.Errorf("%v: %+v", err, st)
		}
	}
}

// Two mitigations that come to one route are one route, as the first of them
// has it, whatever order they come in; the second one's is there when the first
// is gone.
func TestMerge(t *testing.T) {
	p := profileOf(t, announce.Block{Prefix: announce.PrefixSubnet, NextHop: netip.MustParseAddr("192.0.2.66"), Divert: true})
	at := time.Unix(1e9, 0)
	all := map[string]*held{}
	add := func(id, target string, after time.Duration, community string) {
		m := hostOf(target, "203.0.113.0/24", "", "")
		m.ID, m.Requested, m.Attributes = id, at.Add(after), map[string][]string{"communities": {community}}
		routes, err := p.plan(m)
		if err != nil {
			t.Fatal(err)
		}
		all[id] = &held{Mitigation: *m, Routes: routes}
	}
	add("b", "203.0.113.5/32", time.Second, "65001:2")
	add("a", "203.0.113.6/32", 2*time.Second, "65001:3")
	add("c", "203.0.113.7/32", 0, "65001:1")
	for _, want := range []string{"65001:1", "65001:2", "65001:3"} {
		got := byKey((&hold.Set[routeKey, *route]{Held: all}).Routes())
		if len(got) != 1 {
			t.Fatalf("%d routes", len(got))
		}
		for _, r := range got {
			if !strings.HasSuffix(r.text, want) {
				t.Errorf("%s, want %s", r.text, want)
			}
			maps.DeleteFunc(all, func(_ string, h *held) bool { return h.Routes[0].text == r.text })
		}
	}
}

// Our own AS number is put in front for external neighbours only: to an
// internal one the path would be a loop.
func TestPrepend(t *testing.T) {
	p := profileOf(t, announce.Block{Prefix: announce.PrefixHost, NextHop: netip.MustParseAddr("192.0.2.66"), ASPathPrepend: 2})
	routes, err := p.plan(hostOf("203.0.113.5/32", "203.0.113.0/24", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[as]string{{ourAS, false}: "65001 65001", {ourAS, true}: ""} {
		path, err := routes[0].path(from)
		if err != nil {
			t.Fatal(err)
		}
		if got := asPath(t, path); got != want {
			t.Errorf("%+v: AS path %q, want %q", from, got, want)
		}
	}
}

func FuzzRelay(f *testing.F) {
	open, err := bgp.NewBGPOpenMessage(65002, 90, "192.0.2.1", []bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(
		[]bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_FS_IPv4_UC), bgp.NewCapGracefulRestart(true, true, 120, nil)})}).Serialize()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(open)
	f.Add(keepalive)
	f.Add(append(slices.Clone(open), keepalive...))
	f.Add([]byte(strings.Repeat("\xff", 16) + "\x00\x17\x02\x00\x00\x00\x00"))                         // End-of-RIB
	f.Add([]byte(strings.Repeat("\xff", 16) + "\x00\x1d\x02\x00\x00\x00\x06\x80\x0f\x03\x00\x01\x85")) // of flow spec
	f.Add([]byte(strings.Repeat("\xff", 16) + "\x00\x15\x03\x06\x02"))                                 // NOTIFICATION
	f.Add([]byte(strings.Repeat("\xff", 16) + "\x00\x13\x03"))                                         // without a code
	f.Add([]byte(strings.Repeat("\xff", 16) + "\xff\xff\x02"))                                         // too long
	f.Fuzz(func(t *testing.T, data []byte) { hear(t, data) })
}

// FuzzPlan wants nothing to leave that lies outside the mitigation's network,
// whatever is asked for, and all that leaves to be valid on the wire.
func FuzzPlan(f *testing.F) {
	f.Add("203.0.113.5/32", "203.0.113.0/24", "ntp_reflection", "next_hop", "192.0.2.67", uint8(24), false)
	f.Add("2001:db8::5/128", "2001:db8::/32", "", "communities", "65001:1", uint8(48), true)
	f.Add("0.0.0.0/0", "0.0.0.0/0", "mixed", "med", "1", uint8(1), true)
	f.Add("::ffff:203.0.113.5/128", "::/0", "syn_flood", "local_pref", "x", uint8(0), false)
	f.Fuzz(func(t *testing.T, target, subnet, label, name, value string, length uint8, whole bool) {
		m := sdktest.Mitigation()
		m.Target, _ = netip.ParsePrefix(target)
		m.Subnet, _ = netip.ParsePrefix(subnet)
		m.Event.Label = label
		if name != "" {
			m.Attributes = map[string][]string{name: {value}}
		}
		for _, p := range []profile{
			{&announce.Profile{
				Name: "r", Subnet: whole, Lengths: [2]int{int(length) % 33, int(length) % 129}, NoExport: true,
				Attributes: announce.Attributes{NextHop: netip.MustParseAddr("192.0.2.66"), NextHopV6: netip.MustParseAddr("2001:db8:ffff::66")},
			}},
			{&announce.Profile{Name: "f", Action: announce.Action{Then: announce.Discard}}},
		} {
			routes, err := p.plan(&m)
			if err != nil {
				continue
			}
			for _, r := range routes {
				if !announce.Inside(r.prefix, m.Subnet) || r.prefix.Bits() == 0 || r.prefix != r.prefix.Masked() {
					t.Errorf("%s leaves for %s in %s", r.prefix, m.Target, m.Subnet)
				}
				if again, err := r.key.decode(); err != nil || again.String() != r.nlri.String() {
					t.Errorf("%s on the wire is %v, %v", r.nlri, again, err)
				}
				if _, err := r.path(as{ourAS, false}); err != nil {
					t.Errorf("%s cannot be announced: %v", r.text, err)
				}
				if r.flowSpec && r.discard && r.matches == 0 {
					t.Errorf("%s drops everything", r.text)
				}
			}
		}
	})
}

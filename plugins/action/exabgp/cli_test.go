package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const neighbors = `Neighbor 127.0.0.12

  Session                         Local
   local                     127.0.0.11
   state                    ESTABLISHED
   up for                       0:00:41

  Families                        Local          Remote        Add-Path
   ipv4 unicast:                enabled         enabled        disabled
   ipv4 flow:                   enabled        disabled        disabled

Neighbor 2001:db8::1
   state                    ACTIVE
   ipv6 unicast:                enabled         unknown        disabled`

const rib = `neighbor 127.0.0.12 ipv4 unicast 203.0.113.5/32 next-hop 192.0.2.66
neighbor 127.0.0.12 ipv4 flow flow destination-ipv4 203.0.113.5/32 protocol =udp source-port [ =53 =123 ]
neighbor 127.0.0.12 ipv4 flow flow source-ipv4 198.51.100.0/24 destination-ipv4 203.0.113.5/32 protocol =tcp
neighbor 127.0.0.12 ipv6 flow flow destination-ipv6 2001:db8::7/128/0 protocol =tcp tcp-flags [ syn&!ack ]
neighbor 10.9.9.9 ipv4 unicast 203.0.113.9/32 next-hop 192.0.2.66`

func TestParse(t *testing.T) {
	v := parse(strings.Split(neighbors, "\n"), strings.Split(rib, "\n"))
	if len(v.peers) != 2 || v.peers[1].address != "2001:db8::1" || v.peers[1].established || !v.peers[1].local["ipv6 unicast"] || v.peers[1].both["ipv6 unicast"] {
		t.Fatalf("%+v", v.peers)
	}
	p := v.peers[0]
	if !p.established || !p.both["ipv4 unicast"] || p.both["ipv4 flow"] || !p.local["ipv4 flow"] {
		t.Errorf("%+v", p)
	}
	for key, n := range map[string]int{
		at("ipv4 unicast", netip.MustParsePrefix("203.0.113.5/32")): 1, at("ipv4 flow", netip.MustParsePrefix("203.0.113.5/32")): 2, at("ipv6 flow", netip.MustParsePrefix("2001:db8::7/128")): 1,
	} {
		if p.routes[key] != n {
			t.Errorf("%d routes of %s, want %d", p.routes[key], key, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(neighbors, rib)
	f.Add("Neighbor x\nstate\nipv4 unicast: enabled enabled", "neighbor x ipv4 flow destination-ipv4")
	f.Fuzz(func(_ *testing.T, neighbors, rib string) {
		parse(strings.Split(neighbors, "\n"), strings.Split(rib, "\n"))
	})
}

// An ExaBGP that does not answer, or refuses, is told of.
func TestDeafCLI(t *testing.T) {
	at := path(t, "exabgp")
	fifo(t, at+".in")
	fifo(t, at+".out")
	r := newReader(t, at+".in")
	b := newBed(t, settingsOf(func(c *config) { c.CLI, c.Timeout = at, 200*time.Millisecond }))
	m := mitigation("m1", "203.0.113.5/32", "original")
	b.sync(m)
	b.until("m1", sdk.MitigationPending, "did not answer")
	answers, err := os.OpenFile(at+".out", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	go func() {
		for range r.lines {
			_, _ = answers.WriteString("some words\nerror\n") // the plugin reads
		}
	}()
	b.until("m1", sdk.MitigationFailed, "refuses it")
	if err := b.a.Health(t.Context()); err == nil {
		t.Error("it is healthy")
	}
}

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), `
		pipe = "/nonexistent/exabgp.cmd"
		announce "blackhole" {
			next_hop = "192.0.2.66"
		}
	`)
}

func TestProtected(t *testing.T) {
	a, err := newAction(settingsOf(func(c *config) { c.Pipe, c.Neighbors = "/x", []netip.Addr{netip.MustParseAddr("198.51.100.1")} }), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"198.51.100.1/32", "192.0.2.66/32", "2001:db8:ffff::1/128", "192.0.2.99/32"}
	got := a.Protected()
	for i, p := range got {
		if len(got) != len(want) || p.String() != want[i] {
			t.Fatalf("protected: %v, want %v", got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	zero, far := sdk.Size(0), 99
	one := func(change func(*announce.Block)) func(*config) {
		return func(c *config) {
			c.Announce = c.Announce[:1]
			change(&c.Announce[0])
		}
	}
	flow := func(change func(*announce.Block)) func(*config) {
		return func(c *config) {
			c.Announce = []announce.Block{{Name: "f", Prefix: announce.PrefixHost, Then: announce.Discard}}
			change(&c.Announce[0])
		}
	}
	for _, x := range []struct {
		change func(*config)
		path   string
		want   string
	}{
		{func(c *config) { c.Pipe = "" }, "", "pipe ="},
		{func(c *config) { c.CLI = "/y" }, "cli", "not both"},
		{func(c *config) { c.Refresh = 0 }, "refresh", "1s"},
		{func(c *config) { c.Timeout = 0 }, "timeout", "100ms"},
		{func(c *config) { c.Neighbors = []netip.Addr{netip.IPv4Unspecified()} }, "neighbors[0]", "nobody"},
		{func(c *config) { c.Announce = nil }, "", "announce"},
		{func(c *config) { c.Announce = append(c.Announce, c.Announce[0]) }, "announce[9]", "two announce blocks"},
		{one(func(a *announce.Block) { a.Prefix = "all" }), "announce[0].prefix", `"subnet"`},
		{one(func(a *announce.Block) { a.PrefixLength = []int{24} }), "announce[0].prefix_length", "[24, 48]"},
		{one(func(a *announce.Block) { a.PrefixLength = []int{24, 200} }), "announce[0].prefix_length[1]", "128"},
		{one(func(a *announce.Block) { a.Communities = []string{"65001:666\n"} }), "announce[0].communities[0]", "no community"},
		{one(func(a *announce.Block) { a.LargeCommunities = []string{"1:2"} }), "announce[0].large_communities[0]", "three numbers"},
		{one(func(a *announce.Block) { a.ExtendedCommunities = []string{"color:1"} }), "announce[0].extended_communities[0]", "rt:"},
		{one(func(a *announce.Block) { a.Divert, a.Communities = true, []string{"blackhole"} }), "announce[0].divert", "BLACKHOLE"},
		{one(func(a *announce.Block) { a.ASPathPrepend = 99 }), "announce[0].as_path_prepend", "20"},
		{func(c *config) { c.LocalAS = 0 }, "announce[3].as_path_prepend", "local_as"},
		{one(func(a *announce.Block) { a.NextHop = netip.MustParseAddr("127.0.0.1") }), "announce[0].next_hop", "ordinary"},
		{one(func(a *announce.Block) { a.NextHop = netip.MustParseAddr("2001:db8::1") }), "announce[0].next_hop", "other family"},
		{one(func(a *announce.Block) { a.NextHop, a.NextHopV6 = netip.Addr{}, netip.Addr{} }), "announce[0].next_hop", "next_hop"},
		{one(func(a *announce.Block) { a.Redirect = "1:2" }), "announce[0].redirect", "then ="},
		{flow(func(a *announce.Block) { a.Then = "drop" }), "announce[0].then", `"discard"`},
		{flow(func(a *announce.Block) { a.Then = announce.Mark }), "announce[0].dscp", "dscp"},
		{flow(func(a *announce.Block) { a.DSCP = &far }), "announce[0].dscp", "says nothing"},
		{flow(func(a *announce.Block) { a.Then, a.DSCP = announce.Mark, &far }), "announce[0].dscp", "63"},
		{flow(func(a *announce.Block) { a.Then, a.BytesPerSecond = announce.RateLimit, &zero }), "announce[0].bytes_per_second", "discard"},
		{flow(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "x" }), "announce[0].redirect", "route target"},
		{flow(func(a *announce.Block) { a.Then, a.Redirect = announce.Redirect, "2001:db8::1" }), "announce[0].redirect", "IPv6"},
		{flow(func(a *announce.Block) { a.NextHop = netip.MustParseAddr("192.0.2.1") }), "announce[0].next_hop", "routes"},
		{flow(func(a *announce.Block) { a.Matches = make([]flowspec.Match, 1) }), "announce[0].match[0].protocol", "no condition"},
	} {
		c := settingsOf(func(c *config) { c.Pipe = "/x" })
		x.change(&c)
		_, err := read(c)
		found := false
		for _, d := range diag.FromError(err, "") {
			found = found || d.Path.String() == x.path && strings.Contains(d.Summary+" "+d.Detail, x.want)
		}
		if !found {
			t.Errorf("%s: %v, want %q in it", x.path, err, x.want)
		}
	}
}

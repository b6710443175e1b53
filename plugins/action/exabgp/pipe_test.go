package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

const (
	host     = "announce route 203.0.113.5/32 next-hop 192.0.2.66 community 65001:666"
	hostGone = "withdraw route 203.0.113.5/32 next-hop 192.0.2.66"
	subnet   = "announce route 203.0.113.0/24 next-hop 192.0.2.66 community [65001:777 65001:778 65535:65281]"
	six      = "announce route 2001:db8::5/128 next-hop 2001:db8:ffff::1 community [65535:666 65535:65281]"
)

// The original's text, the whole subnet first; what is not wanted any more is
// withdrawn; a reader that comes again gets everything.
func TestPipe(t *testing.T) {
	at := fifo(t, path(t, "cmd"))
	b := newBed(t, settingsOf(func(c *config) { c.Pipe = at }))
	m1, m2, m3 := mitigation("m1", "203.0.113.5/32", "original"), mitigation("m2", "203.0.113.5/32", "subnet"), mitigation("m3", "2001:db8::5/128", "blackhole")
	b.sync(m1, m2)
	b.until("m1", sdk.MitigationPending, "nobody reads")
	if err := b.a.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody reads") {
		t.Errorf("health: %v", err)
	}
	r := newReader(t, at)
	r.want(subnet, host)
	b.until("m1", sdk.MitigationSent, "")
	b.sync(m1, m2, m3)
	r.want(six)
	b.sync(m1, m3)
	r.want("withdraw route 203.0.113.0/24 next-hop 192.0.2.66")
	b.until("m2", sdk.MitigationReleased, "")
	if err := b.a.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}

	r.file.Close()
	b.until("m1", sdk.MitigationPending, "")
	b.sync(m1)
	b.until("m3", sdk.MitigationPending, "cannot be withdrawn")
	r = newReader(t, at)
	r.want(host, "withdraw route 2001:db8::5/128 next-hop 2001:db8:ffff::1")
	b.until("m3", sdk.MitigationReleased, "")
	b.sync()
	r.want(hostGone)
	b.until("m1", sdk.MitigationReleased, "")
}

// A stop writes nothing. After it what ended meanwhile is withdrawn, and nothing
// is written before the core has said what it wants.
func TestPipeRestart(t *testing.T) {
	at := fifo(t, path(t, "cmd"))
	r := newReader(t, at)
	b := newBed(t, settingsOf(func(c *config) { c.Pipe = at }))
	stays, goes := mitigation("stays", "203.0.113.5/32", "original"), mitigation("goes", "2001:db8::5/128", "blackhole")
	b.sync(stays, goes)
	r.want(host, six)
	b.until("goes", sdk.MitigationSent, "")
	b.restart()
	b.until("goes", sdk.MitigationSent, "before the plugin was started again")
	time.Sleep(300 * time.Millisecond)
	if len(r.lines) > 0 {
		t.Errorf("a restart alone writes %q", <-r.lines)
	}
	b.sync(stays)
	r.want(host, "withdraw route 2001:db8::5/128 next-hop 2001:db8:ffff::1")
	b.until("goes", sdk.MitigationReleased, "")
	b.until("stays", sdk.MitigationSent, "")
}

// Everything is written again now and then: a line may have been lost with
// ExaBGP's process.
func TestRefresh(t *testing.T) {
	at := fifo(t, path(t, "cmd"))
	r := newReader(t, at)
	b := newBed(t, settingsOf(func(c *config) { c.Pipe, c.Refresh = at, time.Second }))
	b.sync(mitigation("m1", "203.0.113.5/32", "original"))
	r.want(host, host, host)
}

// A reader that does not read stops nobody.
func TestFullPipe(t *testing.T) {
	at := fifo(t, path(t, "cmd"))
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	b := newBed(t, settingsOf(func(c *config) { c.Pipe = at }))
	var all []sdk.Mitigation
	for i := range 2000 {
		all = append(all, mitigation(fmt.Sprint("m", i), fmt.Sprintf("203.0.113.%d/32", i%250+1), "original"))
		all[i].Target = netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(113 + i/250), byte(i%250 + 1)}), 32)
		all[i].Subnet = netip.MustParsePrefix("203.0.0.0/16")
	}
	b.sync(all...)
	b.until("m1999", sdk.MitigationPending, "is full")
	b.sync(all[:10]...)
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, _ = unix.Read(fd, buf) // it may be empty
		b.mu.Lock()
		s := b.seen["m9"]
		b.mu.Unlock()
		if s.State == sdk.MitigationSent {
			return
		}
	}
	t.Error("the plugin did not recover once the pipe was read again")
}

func TestNotAPipe(t *testing.T) {
	file := path(t, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{file: "is no named pipe", filepath.Join(shortDir(t), "none"): "no such file"} {
		b := newBed(t, settingsOf(func(c *config) { c.Pipe = at }))
		b.sync(mitigation("m1", "203.0.113.5/32", "original"))
		b.until("m1", sdk.MitigationPending, want)
	}
	if info, err := os.Stat(file); err != nil || info.Size() > 0 {
		t.Errorf("a file was written to: %v, %v", info, err)
	}
}

// The same route for several mitigations is one, until the last of them goes;
// the first one's attributes hold.
func TestShared(t *testing.T) {
	at := fifo(t, path(t, "cmd"))
	r := newReader(t, at)
	b := newBed(t, settingsOf(func(c *config) { c.Pipe = at }))
	first, second := mitigation("first", "203.0.113.5/32", "original"), mitigation("second", "203.0.113.5/32", "blackhole")
	second.Requested = second.Requested.Add(time.Second)
	b.sync(second, first)
	r.want(host)
	b.until("second", sdk.MitigationSent, "")
	b.sync(second)
	r.want("announce route 203.0.113.5/32 next-hop 192.0.2.66 community [65535:666 65535:65281]")
	b.until("first", sdk.MitigationReleased, "")
	b.sync()
	r.want(hostGone)
}

// What is written of each profile.
func TestCommands(t *testing.T) {
	byHand := announce.Block{Name: "hand", Prefix: announce.PrefixHost, Then: announce.Discard, Matches: []flowspec.Match{{
		Protocol: []string{"udp"}, Source: []netip.Prefix{netip.MustParsePrefix("4.0.0.0/24")}, SourcePort: []string{"53"}, DestinationPort: []string{"80", "1000-2000"},
		PacketLength: []string{"777", "0-100"}, Fragment: []string{"is-fragment", "dont-fragment"},
	}, {TCPFlags: []string{"syn", "!ack"}}}}
	c := settingsOf(func(c *config) { c.Pipe, c.Announce = "/x", append(c.Announce, byHand) })
	a, err := newAction(c, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		m    sdk.Mitigation
		want string
	}{
		{mitigation("m", "203.0.113.5/32", "rich"), "route 203.0.113.5/32 next-hop 192.0.2.66 as-path [65001 65001 65001] local-preference 200 med 5 " +
			"community [65535:666 65535:65281] large-community 65001:1:2 extended-community [target:65001:100 origin:65001:7 0x0103C00002010005 0x0202FA56EA000006]"},
		{labelled(mitigation("m", "203.0.113.5/32", "discard"), "ntp_reflection"), "flow route destination 203.0.113.5/32 protocol [ =udp ] source-port [ =123 ] discard"},
		{labelled(mitigation("m", "2001:db8::5/128", "discard"), "icmp_flood"), "flow route destination 2001:db8::5/128 next-header [ =58 ] discard"},
		{labelled(mitigation("m", "203.0.113.5/32", "limit"), "syn_flood"), "flow route destination 203.0.113.5/32 protocol [ =tcp ] tcp-flags [ syn&!ack ] rate-limit 125000"},
		{labelled(mitigation("m", "203.0.113.5/32", "mark"), "fragmentation"), "flow route destination 203.0.113.5/32 fragment [ is-fragment first-fragment last-fragment ] mark 10"},
		{mitigation("m", "203.0.113.5/32", "divert"), "flow route destination 203.0.113.5/32 protocol [ =udp ] redirect 65001:100"},
		{mitigation("m", "203.0.113.5/32", "hand"), "flow route source 4.0.0.0/24 destination 203.0.113.5/32 protocol [ =udp ] source-port [ =53 ] destination-port [ =80 >=1000&<=2000 ] " +
			"packet-length [ =777 <=100 ] fragment [ dont-fragment is-fragment ] discard; flow route destination 203.0.113.5/32 tcp-flags [ syn&!ack ] discard"},
		{mitigation("m", "2001:db8::5/128", "hand"), "flow route destination 2001:db8::5/128 tcp-flags [ syn&!ack ] discard"},
	} {
		list, err := a.Preview(t.Context(), x.m)
		var texts []string
		for _, p := range list {
			texts = append(texts, p.Text)
		}
		if got := strings.Join(texts, "; "); got != x.want || err != nil {
			t.Errorf("%s, %s: %v\n got %s\nwant %s", x.m.Profile, x.m.Target, err, got, x.want)
		}
	}
}

// What cannot be announced says why.
func TestPreviewErrors(t *testing.T) {
	c := settingsOf(func(c *config) {
		c.Pipe = "/x"
		c.Announce = append(c.Announce, announce.Block{Name: "wide", Prefix: announce.PrefixHost, PrefixLength: []int{16, 16}, NextHop: netip.MustParseAddr("192.0.2.66")})
	})
	a, err := newAction(c, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	unlabelled, outgoing, outside, none := mitigation("m", "203.0.113.5/32", "discard"), mitigation("m", "203.0.113.5/32", "discard"), mitigation("m", "198.51.100.1/32", "blackhole"), mitigation("m", "203.0.113.5/32", "blackhole")
	unlabelled.Event.Counter, outgoing.Direction, none.Target = "total", "outgoing", netip.Prefix{}
	for want, m := range map[string]sdk.Mitigation{
		"waits for a label":          unlabelled,
		"traffic to our hosts":       outgoing,
		"lies outside":               outside,
		"no single target":           none,
		"more than our network":      mitigation("m", "203.0.113.5/32", "wide"),
		"has no next_hop_v6":         mitigation("m", "2001:db8::5/128", "wide6"),
		"there is no announce block": mitigation("m", "203.0.113.5/32", "other"),
		"say which announce block":   mitigation("m", "203.0.113.5/32", ""),
	} {
		if m.Profile == "wide6" {
			m.Profile, m.Subnet = "wide", netip.MustParsePrefix("2000::/8")
		}
		if _, err := a.Preview(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOverride(t *testing.T) {
	a, err := newAction(settingsOf(func(c *config) { c.Pipe = "/x" }), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	good := map[string][]string{
		"next_hop": {"192.0.2.67", "2001:db8::67"}, "communities": {"65001:1"}, "large_communities": {"1:2:3"}, "extended_communities": {"rt:1:2"}, "local_pref": {"7"}, "med": {"8"},
	}
	if err := a.Override("blackhole", good); err != nil {
		t.Error(err)
	}
	m := mitigation("m", "203.0.113.5/32", "blackhole")
	m.Attributes = good
	list, err := a.Preview(t.Context(), m)
	want := "route 203.0.113.5/32 next-hop 192.0.2.67 local-preference 7 med 8 community [65001:1 65535:65281] large-community 1:2:3 extended-community target:1:2"
	if err != nil || list[0].Text != want {
		t.Errorf("%v, %v", list, err)
	}
	for name, list := range map[string][]string{
		"next_hop": {"192.0.2.67\nannounce route 0.0.0.0/0 next-hop self"}, "communities": {"65001:1\n"}, "large_communities": {"1:2"}, "extended_communities": {"x"},
		"local_pref": {"-1"}, "med": {"1", "2"}, "as_path_prepend": {"3"},
	} {
		if err := a.Override("blackhole", map[string][]string{name: list}); err == nil {
			t.Errorf("%s = %q was accepted", name, list)
		}
	}
	if err := a.Override("discard", map[string][]string{"next_hop": {"192.0.2.67"}}); err == nil {
		t.Error("a next hop of a flow-spec rule was accepted")
	}
}

// Nothing that a configuration, an attack or a hostgroup holds becomes a second
// command, or one that is not about our networks.
func FuzzCommands(f *testing.F) {
	f.Add("65001:666", "65001:1:2", "rt:65001:100", "65001:100", "udp", "53", "syn", "is-fragment", "ntp_reflection", "203.0.113.5/32")
	f.Add("65001:666\nannounce route 0.0.0.0/0", "1:2:3]", "rt:1:2 ;", "192.0.2.1", "6", "1-2", "!ack", "dont-fragment", "a\nb", "2001:db8::1/128")
	f.Add("blackhole", "", "soo:192.0.2.1:5", "4200000000:1", "icmp", "0-65535", "SYN", "x", "", "0.0.0.0/0")
	f.Fuzz(func(t *testing.T, com, large, ext, redirect, protocol, port, flag, fragment, label, target string) {
		prefix, err := netip.ParsePrefix(target)
		if err != nil {
			return
		}
		c := config{Pipe: "/x", Refresh: time.Minute, Timeout: time.Second, Announce: []announce.Block{
			{Name: "route", Prefix: announce.PrefixHost, NextHop: netip.MustParseAddr("192.0.2.66"), NextHopV6: netip.MustParseAddr("2001:db8::66"), Communities: []string{com}, LargeCommunities: []string{large}, ExtendedCommunities: []string{ext}},
			{Name: "flow", Prefix: announce.PrefixHost, Then: announce.Redirect, Redirect: redirect, Matches: []flowspec.Match{{Protocol: []string{protocol}, Port: []string{port}, TCPFlags: []string{flag}, Fragment: []string{fragment}}}},
			{Name: "label", Prefix: announce.PrefixHost, Then: announce.Discard},
		}}
		for _, one := range c.Announce {
			conf := c
			conf.Announce = []announce.Block{one}
			s, err := read(conf)
			if err != nil {
				continue
			}
			m := mitigation("m", "203.0.113.5/32", one.Name)
			m.Target, m.Event.Label, m.Event.Counter = prefix, label, label
			m.Attributes = map[string][]string{"communities": {com}}
			for _, subnet := range []string{"203.0.113.0/24", "2001:db8::/32", "0.0.0.0/0", "::/0"} {
				m.Subnet = netip.MustParsePrefix(subnet)
				routes, err := profile{s.profiles[one.Name], s.LocalAS}.plan(&m)
				if err != nil {
					continue
				}
				for _, r := range routes {
					if strings.ContainsAny(r.announce+r.withdraw, "\r\n;{}\"'") || len(r.announce) >= maxCommand || !announce.Inside(r.prefix, m.Subnet) || r.prefix.Bits() == 0 {
						t.Errorf("%q, %q for %s in %s", r.announce, r.withdraw, prefix, subnet)
					}
				}
			}
		}
	})
}

package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// networks are ours, those that mitigations are said to lie in.
var networks = []netip.Prefix{
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.128/25"),
	netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("2001:db8:2:100::/56"),
}

// way is an announce block as the test knows it, for an oracle that shares no
// code with the plugin.
type way struct {
	name     string
	subnet   bool
	lengths  [2]int
	hops     [2]bool // has a next hop for IPv4, IPv6
	noExport bool
	then     string
}

// someWay makes an announce block; not every one is accepted.
func someWay(r *rand.Rand, name string) (way, string) {
	w := way{name: name, noExport: r.IntN(4) > 0}
	var b strings.Builder
	fmt.Fprintf(&b, "announce %q {\n no_export = %t\n", name, w.noExport)
	switch r.IntN(5) {
	case 0:
		w.subnet = true
		b.WriteString(" prefix = \"subnet\"\n")
	case 1, 2:
		w.lengths = [2]int{1 + r.IntN(32), 1 + r.IntN(128)}
		fmt.Fprintf(&b, " prefix_length = [%d, %d]\n", w.lengths[0], w.lengths[1])
	}
	if n := r.IntN(8); n < 4 {
		w.then = []string{announce.Discard, announce.RateLimit, announce.Mark, announce.Redirect}[n]
		fmt.Fprintf(&b, " then = %q\n%s\n", w.then, []string{"", "bytes_per_second = 1000", "dscp = 8", `redirect = "65001:100"`}[n])
	} else {
		w.hops = [2]bool{r.IntN(5) > 0, r.IntN(5) > 0}
		if w.hops[0] {
			b.WriteString(" next_hop = \"192.0.2.66\"\n")
		}
		if w.hops[1] {
			b.WriteString(" next_hop_v6 = \"2001:db8:ffff::66\"\n")
		}
	}
	b.WriteString(pick(r, "", "", " communities = [\"65001:1\", \"no-peer\"]\n", " communities = []\n", " med = 5\n", " communities = [\"65536:1\"]\n", " next_hop = \"0.0.0.0\"\n"))
	return w, b.String() + "}\n"
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// within is some prefix of a network, of any length from the network's on.
func within(r *rand.Rand, net netip.Prefix, longest int) netip.Prefix {
	octets := net.Addr().AsSlice()
	for bit := net.Bits(); bit < len(octets)*8; bit++ {
		octets[bit/8] |= byte(r.IntN(2)) << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(octets) // of 4 or 16
	return netip.PrefixFrom(addr, net.Bits()+r.IntN(longest-net.Bits()+1))
}

// someRequest asks for anything: mostly for one of our hosts, and for what is
// wider than our networks, outside, everything, nothing, not masked, in the wrong
// family, or with attributes that mean nothing. The core never would.
func someRequest(r *rand.Rand, id string, ways []way) (m sdk.Mitigation, hops [2]bool, fine bool) {
	m = sdktest.Mitigation()
	m.ID, m.Requested = id, time.Unix(1e9+int64(r.IntN(1000)), 0)
	m.Profile = pick(r, ways...).name
	m.Event.Label, m.Event.Counter = pick(r, append(sdk.Labels(), "", "mixed", "nonsense\n")...), pick(r, "total", "udp", "tcp_syn", "")
	m.Direction = pick(r, "incoming", "incoming", "incoming", "outgoing")
	net := pick(r, networks...)
	m.Subnet, m.Target = net, within(r, net, net.Addr().BitLen())
	if r.IntN(3) > 0 {
		m.Target = netip.PrefixFrom(m.Target.Addr(), net.Addr().BitLen())
	}
	switch r.IntN(14) {
	case 0:
		m.Target = netip.PrefixFrom(net.Addr(), r.IntN(net.Bits()+1))
	case 1:
		m.Target = pick(r, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("8.8.8.8/32"), netip.MustParsePrefix("2001:4860::1/128"))
	case 2:
		m.Target = netip.MustParsePrefix("::ffff:203.0.113.5/128")
	case 3:
		m.Target = netip.Prefix{}
	case 4:
		m.Subnet = netip.Prefix{}
	case 5:
		m.Subnet = pick(r, networks...)
	case 6:
		m.Subnet = netip.PrefixFrom(m.Target.Addr(), net.Bits()) // not masked
	case 7:
		m.Profile = pick(r, "", "nobody")
	}
	fine = true
	switch r.IntN(12) {
	case 0:
		m.Attributes = map[string][]string{"communities": {"65001:7"}, "local_pref": {"9"}}
	case 1:
		m.Attributes, hops = map[string][]string{"next_hop": {"192.0.2.77", "2001:db8:ffff::77"}}, [2]bool{true, true}
	case 2:
		m.Attributes, fine = map[string][]string{pick(r, "next_hop", "med", "communities", "prefix", ""): {pick(r, "", "0.0.0.0", "-1", "x\n", "::1")}}, false
	}
	return m, hops, fine
}

// comesTo is what a request may come to, by the rules in the README: a prefix, of
// a family. ok is false where nothing may leave.
func comesTo(w way, m *sdk.Mitigation, hops [2]bool, fine bool) (family, prefix string, ok bool) {
	t, s := m.Target.Masked(), m.Subnet.Masked()
	holds := func(p netip.Prefix) bool {
		return slices.Contains(networks, s) && s.Contains(p.Addr()) && p.Bits() >= s.Bits()
	}
	if !fine || !t.IsValid() || !s.IsValid() || !holds(t) {
		return "", "", false
	}
	i := 0
	if t.Addr().Is6() {
		i = 1
	}
	if n := w.lengths[i]; n > 0 && n < t.Bits() {
		t = netip.PrefixFrom(t.Addr(), n).Masked()
	}
	if w.subnet {
		t = s
	}
	family = []string{"ipv4", "ipv6"}[i]
	if w.then == "" {
		return family, t.String(), holds(t) && (w.hops[i] || hops[i])
	}
	known := flowspec.ForEvent(&m.Event) != nil
	return family + "-flowspec", t.String(), holds(t) && m.Direction != "outgoing" && (known || w.then != announce.Discard)
}

var (
	toldRoute = regexp.MustCompile(`fnm\.\w+ > (?:added|updated|filtered|rejected|ignored|received|removed)\S*(?: \[\S+\])? (.*)`)
	routeText = regexp.MustCompile(`^[0-9a-f.:]+/\d+`)
	flowText  = regexp.MustCompile(`^flow[46] \{.*?dst ([0-9a-f.:]+/\d+)`)
)

// everTold are the destinations of all that BIRD was ever told.
func everTold(t *testing.T, p *peer) map[netip.Prefix]bool {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[netip.Prefix]bool{}
	for _, m := range toldRoute.FindAllStringSubmatch(string(log), -1) {
		text := routeText.FindString(m[1])
		if f := flowText.FindStringSubmatch(m[1]); f != nil {
			text = f[1]
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			t.Fatalf("BIRD's log has %q", m[0])
		}
		out[prefix] = true
	}
	return out
}

var destination = regexp.MustCompile(`(?:^|dst )([0-9a-f.:]+/\d+)`)

// destinations are those of the peer's routes of a family, each once.
func destinations(p *peer, family string) []string {
	var out []string
	for _, text := range p.routes(family) {
		if m := destination.FindStringSubmatch(text); m != nil {
			out = append(out, m[1])
		} else {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Whatever configurations and requests there are, a router is told of nothing
// outside our networks, ever, and has just what may be announced.
func TestNothingElseLeaves(t *testing.T) {
	if !inNamespace(t, "bird") {
		return
	}
	rounds, syncs, seed := 4, 12, uint64(7)
	if os.Getenv("FASTNETMON_SOAK") == "1" {
		rounds, syncs, seed = 30, 40, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := bird(t, peerOptions{trace: true})
	asked, fits, refused := 0, 0, 0
	for range rounds {
		var ways []way
		config := fmt.Sprintf("local_as = %d\nrouter_id = %q\n", ourAS, newAddress()) + neighborBlock(p, `families = ["ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec"]`)
		for len(ways) < 12 {
			w, text := someWay(r, fmt.Sprint("w", len(ways)))
			if sdktest.New(t, plugin(), config+text).Validate().HasErrors() {
				refused++
				continue
			}
			ways, config = append(ways, w), config+text
		}
		h := sdktest.New(t, plugin(), config)
		for range syncs {
			want := map[string][]string{}
			var all []sdk.Mitigation
			for i := range 40 {
				m, hops, fine := someRequest(r, fmt.Sprint(i), ways)
				all = append(all, m)
				asked++
				at := slices.IndexFunc(ways, func(w way) bool { return w.name == m.Profile })
				if at < 0 {
					continue
				}
				if family, prefix, ok := comesTo(ways[at], &m, hops, fine); ok {
					want[family] = append(want[family], prefix)
					fits++
				}
			}
			sync1(t, h, all...)
			for _, family := range []string{"ipv4", "ipv6", "ipv4-flowspec", "ipv6-flowspec"} {
				slices.Sort(want[family])
				want[family] = slices.Compact(want[family])
				var got []string
				if !eventually(patience, func() bool { got = destinations(p, family); return slices.Equal(got, want[family]) }) {
					t.Fatalf("the router has of %s\n%q\nwant\n%q\nof %+v\n%s", family, got, want[family], all, config)
				}
			}
		}
		sync1(t, h)
		if err := h.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	told := everTold(t, p)
	for prefix := range told {
		if !slices.ContainsFunc(networks, func(net netip.Prefix) bool { return net.Contains(prefix.Addr()) && prefix.Bits() >= net.Bits() }) {
			t.Errorf("the router was told of %s", prefix)
		}
	}
	t.Logf("%d requests, %d of them to be announced; %d announce blocks were refused; the router was told of %d destinations", asked, fits, refused, len(told))
	if fits < asked/5 || fits == asked || len(told) < fits/10 || refused == 0 {
		t.Error("the test tries too little")
	}
}

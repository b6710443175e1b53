package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	records "github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The comparison with Debian's fastnetmon in who is banned, in which direction
// and when: both programs get the same datagrams at the same time.

const (
	communityPlay  = 15 * time.Second // 1.12 times 50 Mbit/s is seen after 12.2 s
	communitySlice = 100 * time.Millisecond
	// communityLate is a period, and what a busy machine may add on the way to a
	// log line.
	communityLate = time.Second + 500*time.Millisecond
)

// communityGroup is a hostgroup with one kind of limit.
type communityGroup struct {
	name    string
	theirs  string  // name of its limit in the original
	ours    string  // attributes of the threshold
	limit   float64 // in the original's unit
	proto   uint8
	size    float64 // octets of a packet
	network netip.Prefix
}

func communityGroups() []communityGroup {
	groups := []communityGroup{
		{name: "pps", theirs: "pps", ours: "pps = 2000", limit: 2000, proto: records.ProtoUDP, size: 100},
		{name: "mbps", theirs: "mbps", ours: `bps = "200M"`, limit: 200, proto: records.ProtoUDP, size: 1250},
		{name: "flows", theirs: "flows", ours: "fps = 300", limit: 300, proto: records.ProtoTCP, size: 40},
		{name: "tcppps", theirs: "tcp_pps", ours: "counter = counter.tcp\npps = 1500", limit: 1500, proto: records.ProtoTCP, size: 40},
		{name: "udppps", theirs: "udp_pps", ours: "counter = counter.udp\npps = 3000", limit: 3000, proto: records.ProtoUDP, size: 60},
		{name: "icmppps", theirs: "icmp_pps", ours: "counter = counter.icmp\npps = 500", limit: 500, proto: records.ProtoICMP, size: 84},
		{name: "tcpmbps", theirs: "tcp_mbps", ours: "counter = counter.tcp\nbps = \"300M\"", limit: 300, proto: records.ProtoTCP, size: 1500},
		{name: "udpmbps", theirs: "udp_mbps", ours: "counter = counter.udp\nbps = \"100M\"", limit: 100, proto: records.ProtoUDP, size: 500},
		{name: "icmpmbps", theirs: "icmp_mbps", ours: "counter = counter.icmp\nbps = \"50M\"", limit: 50, proto: records.ProtoICMP, size: 1000},
		{name: "sflow", theirs: "pps", ours: "pps = 4000", limit: 4000},
	}
	for i := range groups {
		groups[i].network = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 60, byte(i), 0}), 24)
	}
	return groups
}

// packets is how many packets or flows a second are a limit.
func (g *communityGroup) packets() float64 {
	switch g.theirs {
	case "mbps", "tcp_mbps", "udp_mbps", "icmp_mbps":
		return g.limit * 1e6 / 8 / g.size
	}
	return g.limit
}

// host is the n-th one.
func (g *communityGroup) host(n int) netip.Addr {
	a := g.network.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// communityHost is one host of the comparison.
type communityHost struct {
	addr    netip.Addr
	what    string
	streams []*communityStream
	ban     bool          // it must be banned
	near    time.Duration // for which its average is within 5 % of the limit
}

// nearLimit is for how long the average of a steady multiple of a limit is
// within 5 % of it on its way up: there a second that was a little longer, as
// the original's are on a busy machine, decides.
func nearLimit(multiple, averageTime float64) time.Duration {
	if multiple <= 1.05 {
		return communityPlay
	}
	return time.Duration(averageTime * math.Log((multiple-0.95)/(multiple-1.05)) * float64(time.Second))
}

// communityStream is what a host gets or sends.
type communityStream struct {
	outgoing bool
	flows    bool // one packet each
	proto    uint8
	size     float64
	rate     func(at time.Duration) float64 // a second
	lump     time.Duration                  // told of at once, so often; 0: at once
	owed     float64
}

func steady(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// communityHosts are hosts at many multiples of each limit, none of them within
// 5 % of it, and a few that are harder to judge.
func communityHosts(groups []communityGroup) (hosts []*communityHost) {
	for i := range groups {
		g := &groups[i]
		if g.name == "sflow" {
			continue
		}
		for n, multiple := range []float64{0.3, 0.6, 0.8, 0.9, 1.12, 1.15, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7, 10, 30} {
			if g.name == "flows" && multiple > 5 {
				continue // a record each: more than a busy machine takes in without loss
			}
			s := &communityStream{outgoing: n%3 == 2, flows: g.name == "flows", proto: g.proto, size: g.size, rate: steady(multiple * g.packets())}
			hosts = append(hosts, &communityHost{g.host(n), fmt.Sprintf("%g times %s", multiple, g.name), []*communityStream{s}, multiple > 1, nearLimit(multiple, 5)})
		}
	}
	pps, flows := &groups[0], &groups[2]
	add := func(n int, what string, ban bool, streams ...*communityStream) {
		hosts = append(hosts, &communityHost{pps.host(100 + n), what, streams, ban, time.Second})
	}
	udp := func(out bool, size, multiple float64) *communityStream {
		return &communityStream{outgoing: out, proto: records.ProtoUDP, size: size, rate: steady(multiple * pps.limit)}
	}
	shaped := func(rate func(time.Duration) float64) *communityStream {
		s := udp(false, 100, 0)
		s.rate = func(at time.Duration) float64 { return rate(at) * pps.limit }
		return s
	}
	add(0, "more bytes out, as many packets in", true, udp(false, 100, 1.5), udp(true, 1000, 1.4))
	add(1, "more bytes in, as many packets out", true, udp(false, 1000, 1.4), udp(true, 100, 1.5))
	add(2, "more packets in, more bytes out", true, udp(false, 60, 3), udp(true, 1400, 1.2))
	add(3, "two protocols, each below", true, udp(false, 60, 0.8), &communityStream{proto: records.ProtoICMP, size: 60, rate: steady(0.8 * pps.limit)})
	add(4, "short pulses", false, shaped(func(at time.Duration) float64 {
		if at%(6*time.Second) < 500*time.Millisecond {
			return 5
		}
		return 0
	}))
	add(5, "a pulse", true, shaped(func(at time.Duration) float64 {
		if at >= 4*time.Second && at < 6*time.Second {
			return 8
		}
		return 0.1
	}))
	add(6, "a ramp", true, shaped(func(at time.Duration) float64 { return at.Seconds() / 4 }))
	lumps := udp(false, 500, 0.9)
	lumps.lump = 5 * time.Second
	add(7, "long flows, told of in lumps", true, lumps)
	hosts = append(hosts, &communityHost{flows.host(100), "flows of ICMP", []*communityStream{
		{flows: true, proto: records.ProtoICMP, size: 84, rate: steady(2 * flows.limit)},
	}, false, 0})
	return hosts
}

// slice tells of what a stream had since the last slice.
func (s *communityStream) slice(w *netflow5, host netip.Addr, at time.Duration) {
	s.owed += s.rate(at) * communitySlice.Seconds()
	if s.lump != 0 && (at+communitySlice)%s.lump != 0 {
		return
	}
	n := uint32(s.owed)
	s.owed -= float64(n)
	r := flow5{src: netip.AddrFrom4([4]byte{198, 51, 100, 9}), dst: host, sport: 4000, dport: 80, proto: s.proto, lasted: s.lump}
	if s.outgoing {
		r.src, r.dst = r.dst, r.src
	}
	if s.proto == records.ProtoTCP {
		r.flags = records.FlagACK
	}
	if !s.flows {
		r.packets, r.bytes = n, uint32(float64(n)*s.size)
		w.add(&r)
		return
	}
	r.packets, r.bytes = 1, uint32(s.size)
	for i := range n {
		other := netip.AddrFrom4([4]byte{198, 51, byte(100 + i%64), 9})
		if s.outgoing {
			r.dst = other
		} else {
			r.src = other
		}
		r.sport = uint16(1024 + (int(at/communitySlice)*1000+int(i))%60000)
		w.add(&r)
	}
}

// communitySFlow are attacks that are told of in samples.
func communitySFlow(g *communityGroup) (*gen.Scenario, []*communityHost) {
	s := &gen.Scenario{Seed: 7, Duration: communityPlay, Networks: []netip.Prefix{g.network}}
	var hosts []*communityHost
	kinds := []gen.Kind{gen.SYNFlood, gen.UDPFlood, gen.ICMPFlood, gen.ACKFlood}
	for n, multiple := range []float64{0.4, 0.7, 0.8, 1.4, 1.7, 2, 3, 5, 8} {
		a := gen.Attack{Kind: kinds[n%len(kinds)], Target: g.host(n), PPS: multiple * g.limit, Direction: gen.Incoming}
		if n%3 == 1 {
			a.Direction = gen.Outgoing
		}
		s.Attacks = append(s.Attacks, a)
		hosts = append(hosts, &communityHost{a.Target, fmt.Sprintf("%g times the limit in samples", multiple), nil, multiple > 1, nearLimit(multiple, 5)})
	}
	return s, hosts
}

// TestCommunityRule lets Debian's fastnetmon and this program judge the same
// input.
func TestCommunityRule(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	groups := communityGroups()
	hosts := communityHosts(groups)
	scenario, sampled := communitySFlow(&groups[len(groups)-1])
	var both [2]*judge
	both[0] = startCommunity(t, groups)
	both[1] = startItself(t, groups)
	send := toBoth(t, both)
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- playSFlow(scenario, began, send) }()
	w := &netflow5{boot: began.Add(-time.Hour), send: func(b []byte) { send("netflow", b) }}
	for at := time.Duration(0); at < communityPlay; at += communitySlice {
		time.Sleep(time.Until(began.Add(at)))
		for _, h := range hosts {
			for _, s := range h.streams {
				s.slice(w, h.addr, at)
			}
		}
		w.flush()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	compareJudges(t, append(hosts, sampled...), both, began)
}

func compareJudges(t *testing.T, hosts []*communityHost, both [2]*judge, began time.Time) {
	bans := [2]map[netip.Addr]ban{both[0].bans(t), both[1].bans(t)}
	banned, within := 0, 0
	for _, h := range hosts {
		theirs, ours := bans[0][h.addr], bans[1][h.addr]
		text := fmt.Sprintf("%v, %s: the original bans %v, this program %v", h.addr, h.what, theirs.since(began), ours.since(began))
		apart := theirs.at.Sub(ours.at).Abs()
		switch {
		case (theirs.direction != "") != h.ban:
			t.Errorf("%s: the original must ban it: %v", text, h.ban)
		case theirs.direction != ours.direction:
			t.Error(text)
		case h.ban && apart > 3*communityLate+h.near: // a program that does not run for a second is the machine's doing
			t.Errorf("%s: %v apart", text, apart)
		case h.ban:
			banned++
			if apart <= communityLate {
				within++
			}
			t.Log(text)
		}
	}
	t.Logf("%d of %d hosts are banned by both, %d within %v", banned, len(hosts), within, communityLate)
	if within < banned*3/4 {
		t.Errorf("only %d of %d bans are within %v of each other", within, banned, communityLate)
	}
}

// since is a ban as people read it.
func (b ban) since(began time.Time) string {
	if b.direction == "" {
		return "never"
	}
	return fmt.Sprintf("%s after %.2f s", b.direction, b.at.Sub(began).Seconds())
}

// toBoth sends datagrams to both programs.
func toBoth(t *testing.T, both [2]*judge) func(kind string, data []byte) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func(kind string, data []byte) {
		for _, j := range both {
			if _, err := conn.WriteToUDP(data, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: j.ports[kind]}); err != nil {
				t.Error(err)
			}
		}
	}
}

// playSFlow sends samples of a scenario's packets in its own time.
func playSFlow(s *gen.Scenario, began time.Time, send func(string, []byte)) error {
	var stamp gen.Stamper
	first := int64(0)
	tell := gen.Telemetry{Protocol: gen.SFlow, Sampling: 16, PerPacket: 4}
	_, err := tell.Datagrams(s, func(d *gen.Datagram) bool {
		if first == 0 {
			first = d.Time
		}
		time.Sleep(time.Until(began.Add(time.Duration(d.Time - first))))
		stamp.Stamp(d, time.Now().UnixNano())
		send("sflow", d.Data)
		return true
	})
	return err
}

// A replay decides by the packets' own seconds: the same bytes each time, and
// the second in which the capture ends is judged too.
func TestReplayByCommunityRule(t *testing.T) {
	config := write(t, "community.hcl", `
network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks  = [network.home]
  detection = "fastnetmon"

  threshold "flood" {
    pps = 1000
  }
}
`)
	capture := filepath.Join(t.TempDir(), "late.pcap")
	mustRun(t, "traffic", "--out", capture, "--network", "203.0.113.0/24", "--duration", "5s", "--pps", "100",
		"--attack", "udp_flood,target=203.0.113.7,pps=2000,start=1s,for=3s",
		"--attack", "udp_flood,target=203.0.113.8,pps=100000,start=4900ms")
	first := mustRun(t, "replay", "--config", config, "--json", capture).stdout
	if second := mustRun(t, "replay", "--config", config, "--json", capture).stdout; second != first {
		t.Error("a second replay says something else")
	}
	var targets []string
	for _, e := range parseEvents(t, first) {
		if e.Event == "attack.started" {
			targets = append(targets, e.Target)
			if e.Value != math.Trunc(e.Value) || e.Window != 5 {
				t.Errorf("%+v", e)
			}
		}
	}
	// 2000 packets a second for 3 s are no more than 902 on average.
	if !slices.Equal(targets, []string{"203.0.113.8"}) {
		t.Errorf("attacks on %v", targets)
	}
}

package count

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// memorySink keeps what is flushed and takes at most free records at a time.
type memorySink struct {
	free    int
	batches [][]ring.Delta // each headed by its flush
}

const endless = 1 << 30

func (s *memorySink) Free() int { return s.free }

func (s *memorySink) Write(batch []ring.Delta) int {
	for i := range batch {
		if batch[i].Kind == ring.KindFlush {
			s.batches = append(s.batches, nil)
		}
		last := len(s.batches) - 1
		s.batches[last] = append(s.batches[last], batch[i])
	}
	return len(batch)
}

// samples returns the newest flush and the raw samples of all deltas.
func (s *memorySink) samples() (f *ring.Flush, n uint64) {
	for _, b := range s.batches {
		f = b[0].AsFlush()
		before := n
		for i := range b[1:] {
			if b[i+1].Kind != ring.KindCounter {
				n += uint64(b[i+1].Samples)
			}
		}
		if f.Samples != n-before {
			return f, math.MaxUint64 / 2
		}
	}
	return f, n
}

// gain is what deltas or an oracle add up to.
type gain struct {
	packets, bytes uint64
	counters       [ring.BuiltinCounters]pair
	flows, samples uint64
}

func (g *gain) addDelta(d *ring.Delta) {
	g.packets += d.Packets
	g.bytes += d.Bytes
	g.flows += uint64(d.Flows)
	g.samples += uint64(d.Samples)
	for i := range g.counters {
		g.counters[i].add(uint64(d.CounterPackets[i]), uint64(d.CounterBytes[i]))
	}
}

// subject is what a gain belongs to. For counters id is set, for rows 0.
type subject struct {
	prefix    netip.Prefix
	direction ring.Direction
	network   uint32
	group     uint32
	counter   int // user counter + 1
}

// sum adds up all deltas, and checks what must hold for each flush.
func (s *memorySink) sum(t *testing.T) map[subject]*gain {
	t.Helper()
	all := make(map[subject]*gain)
	for _, b := range s.batches {
		f := b[0].AsFlush()
		if err := f.Check(); err != nil {
			t.Fatalf("%v: %+v", err, f)
		}
		if int(f.Deltas) != len(b)-1 {
			t.Fatalf("flush %d announces %d deltas, %d follow", f.Number, f.Deltas, len(b)-1)
		}
		for i := range b[1:] {
			d := &b[i+1]
			if d.SpanMs == 0 || d.SpanMs%FlushTick != 0 {
				t.Fatalf("span is %d ms", d.SpanMs)
			}
			if err := d.Check(); err != nil {
				t.Fatalf("%v: %+v", err, d)
			}
			k := subject{direction: d.Direction, network: d.Network, group: d.Group}
			switch d.Kind {
			case ring.KindHost, ring.KindPrefix:
				k.prefix = d.Prefix()
			case ring.KindCounter:
				k.prefix, k.counter = d.Prefix(), int(d.ID)+1
			case ring.KindTotal:
				k.prefix = netip.PrefixFrom(netip.IPv6Unspecified(), int(d.Family))
			default:
				continue
			}
			if all[k] == nil {
				all[k] = &gain{}
			}
			all[k].addDelta(d)
		}
	}
	return all
}

// oracle counts the slow and obvious way.
type oracle struct {
	plan  *Plan
	gains map[subject]*gain
	seen  map[flowKey]int64 // when the flow was last new
}

type flowKey struct {
	src, dst     netip.Addr
	sport, dport uint16
	protocol     uint8
}

func newOracle(p *Plan) *oracle {
	return &oracle{plan: p, gains: map[subject]*gain{}, seen: map[flowKey]int64{}}
}

func (o *oracle) place(a netip.Addr) *Prefix {
	var best *Prefix
	for i := range o.plan.Prefixes {
		p := &o.plan.Prefixes[i]
		if p.Prefix.Contains(a) && (best == nil || p.Prefix.Bits() > best.Prefix.Bits()) {
			best = p
		}
	}
	return best
}

func (o *oracle) add(r *traffic.Record) {
	src, dst := r.SrcAddr(), r.DstAddr()
	from, to := o.place(src), o.place(dst)
	switch {
	case from == nil && to == nil:
		o.total(r, ring.Other)
	case from == nil:
		o.host(r, to, dst, src, ring.Incoming)
	case to == nil:
		o.host(r, from, src, dst, ring.Outgoing)
	case from.CountInternal && to.CountInternal:
		o.host(r, to, dst, src, ring.Incoming)
		o.host(r, from, src, dst, ring.Outgoing)
	default:
		o.total(r, ring.Internal)
	}
}

func (o *oracle) total(r *traffic.Record, d ring.Direction) {
	family := 4
	if r.IsIPv6() {
		family = 6
	}
	k := subject{prefix: netip.PrefixFrom(netip.IPv6Unspecified(), family), direction: d}
	o.at(k).addRecord(r)
}

func (o *oracle) at(k subject) *gain {
	if o.gains[k] == nil {
		o.gains[k] = &gain{}
	}
	return o.gains[k]
}

func (o *oracle) host(r *traffic.Record, p *Prefix, local, remote netip.Addr, d ring.Direction) {
	length := 32
	if local.Is6() {
		length = max(int(p.V6HostLen), p.Prefix.Bits())
		if p.V6HostLen == 0 {
			length = 128
		}
	}
	k := subject{prefix: netip.PrefixFrom(local, length).Masked(), direction: d, network: p.Network, group: p.Group}
	user := func(k subject, counter int) {
		k.counter = counter
		g := o.at(k)
		g.packets += r.Packets
		g.bytes += r.Bytes
		g.samples += r.Raw()
	}
	if exemptions := o.exempt(r, local, remote, d); len(exemptions) > 0 {
		g := o.at(k)
		g.counters[ring.CounterExempt].add(r.Packets, r.Bytes)
		g.samples += r.Raw()
		for _, e := range exemptions {
			if e.Counter > 0 {
				user(k, int(e.Counter))
			}
		}
		return
	}
	o.at(k).addRecord(r)
	for i := range o.plan.Counters {
		if c := &o.plan.Counters[i]; belongs(c, r) {
			user(k, int(c.ID)+1)
		}
	}
}

func (g *gain) addRecord(r *traffic.Record) {
	g.packets += r.Packets
	g.bytes += r.Bytes
	g.samples += r.Raw()
	add := func(is bool, counter int) {
		if is {
			g.counters[counter].add(r.Packets, r.Bytes)
		}
	}
	add(r.Protocol == 6, ring.CounterTCP)
	add(r.Protocol == 17, ring.CounterUDP)
	add(r.Protocol == 1 || r.Protocol == 58, ring.CounterICMP)
	add(r.Protocol == 6 && r.TCPFlags&2 != 0 && r.TCPFlags&16 == 0, ring.CounterTCPSYN)
	add(r.Marks&traffic.MarkFragment != 0, ring.CounterFragmented)
	add(r.Marks&traffic.MarkDropped != 0, ring.CounterDropped)
}

func belongs(c *Counter, r *traffic.Record) bool {
	in := func(ranges []PortRange, port uint16) bool {
		return len(ranges) == 0 || slices.ContainsFunc(ranges, func(p PortRange) bool { return p.From <= port && port <= p.To })
	}
	if len(c.Protocols) > 0 && !slices.Contains(c.Protocols, r.Protocol) {
		return false
	}
	if !in(c.SrcPorts, r.SrcPort) || !in(c.DstPorts, r.DstPort) {
		return false
	}
	if c.FlagsSet|c.FlagsClear != 0 && (r.Protocol != 6 || r.TCPFlags&c.FlagsSet != c.FlagsSet || r.TCPFlags&c.FlagsClear != 0) {
		return false
	}
	if c.Fragment != nil && *c.Fragment != (r.Marks&traffic.MarkFragment != 0) {
		return false
	}
	if c.Dropped != nil && *c.Dropped != (r.Marks&traffic.MarkDropped != 0) {
		return false
	}
	length := r.Bytes
	if r.Packets != 0 {
		length /= r.Packets
	}
	if len(c.Lengths) > 0 && !slices.ContainsFunc(c.Lengths, func(l Range) bool {
		return uint64(l.From) <= length && length <= uint64(l.To)
	}) {
		return false
	}
	return len(c.Classes) == 0 || slices.ContainsFunc(c.Classes, func(b uint8) bool { return r.Class>>b&1 != 0 })
}

// exempt lists the exemptions that a record fits.
func (o *oracle) exempt(r *traffic.Record, local, remote netip.Addr, d ring.Direction) []Exemption {
	holds := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return slices.DeleteFunc(slices.Clone(o.plan.Exemptions), func(e Exemption) bool {
		ports := len(e.Ports) == 0 || slices.ContainsFunc(e.Ports, func(p PortRange) bool {
			return p.From <= r.SrcPort && r.SrcPort <= p.To || p.From <= r.DstPort && r.DstPort <= p.To
		})
		way := e.Incoming == e.Outgoing || e.Incoming == (d == ring.Incoming)
		alive := e.UntilUnix == 0 || r.Time/1e9 < e.UntilUnix
		return !ports || !way || !alive || !holds(e.Local, local) || !holds(e.Remote, remote) ||
			len(e.Protocols) > 0 && !slices.Contains(e.Protocols, r.Protocol)
	})
}

// randomRecord makes a record between few addresses, some of them ours.
func randomRecord(rng *rand.Rand, hosts int) traffic.Record {
	r := traffic.Record{
		Packets: 1, Sampling: 1, SrcPort: uint16(rng.IntN(600)), DstPort: uint16(rng.IntN(600)),
		Protocol: []uint8{1, 6, 6, 6, 17, 17, 47, 58}[rng.IntN(8)], Time: 1e18 + rng.Int64N(100)*1e9,
		Class: rng.Uint64() & rng.Uint64() & rng.Uint64() & rng.Uint64(),
	}
	if r.Protocol == 6 {
		r.TCPFlags = uint8(rng.IntN(64))
	}
	if rng.IntN(4) == 0 {
		r.Packets = rng.Uint64N(100)
		r.Sampling = uint32(rng.IntN(50))
	}
	r.Bytes = r.Packets * rng.Uint64N(1600)
	r.Marks = traffic.Marks(rng.IntN(4)) << 1
	v6 := rng.IntN(2) == 0
	if v6 {
		r.Marks |= traffic.MarkIPv6
	}
	r.Src, r.Dst = randomEnd(rng, v6, hosts), randomEnd(rng, v6, hosts)
	return r
}

func randomEnd(rng *rand.Rand, v6 bool, hosts int) [16]byte {
	n := rng.IntN(hosts)
	if v6 {
		base := netip.MustParseAddr([]string{"2001:db8::", "2001:db8:1::", "2001:db8:2::", "2a00::"}[rng.IntN(4)]).As16()
		base[6], base[7] = byte(n>>6), byte(n>>4&3)
		base[14], base[15] = byte(n>>8), byte(n)
		return base
	}
	nets := [][2]byte{{10, 0}, {10, 1}, {192, 0}, {198, 51}}
	p := nets[rng.IntN(len(nets))]
	return netip.AddrFrom4([4]byte{p[0], p[1], byte(n >> 8), byte(n)}).As16()
}

// testPlan is a plan with nested prefixes, groups and both kinds of internal.
func testPlan() *Plan {
	prefix := netip.MustParsePrefix
	return &Plan{
		Revision: 1, Seed: 42, MaxRows: 1 << 16,
		Groups: []Group{{ID: 7, Packets: 1e6, Bytes: 1e9}, {ID: 8, Packets: 1000}},
		Prefixes: []Prefix{
			{Prefix: prefix("10.0.0.0/16"), Network: 1, Group: 7, CountInternal: true},
			{Prefix: prefix("10.0.1.0/24"), Network: 2, Group: 8, CountInternal: true},
			{Prefix: prefix("10.0.1.7/32"), Network: 2, Group: 7},
			{Prefix: prefix("10.1.0.0/16"), Network: 3},
			{Prefix: prefix("2001:db8::/48"), Network: 1, Group: 7, CountInternal: true},
			{Prefix: prefix("2001:db8:1::/48"), Network: 2, Group: 8, V6HostLen: 64, CountInternal: true},
			{Prefix: prefix("2001:db8:1::100/120"), Network: 4, Group: 8, V6HostLen: 64},
			{Prefix: prefix("2001:db8:2::/47"), Network: 5, V6HostLen: 56},
		},
	}
}

func mustCompile(t testing.TB, p *Plan) *Compiled {
	t.Helper()
	c, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

package evidence

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Shares that decide.
const (
	mostShare     = 0.75 // of one vector: it is the label
	partShare     = 0.10 // of one of several: it is a part
	mixedShare    = 0.75 // of the parts together: the label is mixed
	ordinaryShare = 0.60 // of ordinary traffic: there is no label
	oneTarget     = 0.50 // of one address of a wider target: the attack is on that one
	askedShare    = 0.30 // of the target's own packets to those it gets: it has asked
	dataShare     = 0.20 // of TCP packets with data to bare ACKs: these belong to connections
	amplifies     = 8    // times as many octets as who asks sends: a reflector
	firstShare    = 0.04 // of first fragments to later ones: the longest datagram has 45
)

// verdict is a label and how it is known.
type verdict struct {
	label      string
	confidence float64
	basis      string
	reasons    []string
	parts      []sdk.LabelPart
}

func (v *verdict) because(format string, args ...any) {
	v.reasons = append(v.reasons, fmt.Sprintf(format, args...))
}

// weight is what some of the samples stand for.
type weight struct {
	samples, packets, bytes uint64
	first, firstBytes       uint64 // of packets that are first fragments
}

func (w *weight) add(r *traffic.Record) {
	w.samples, w.packets, w.bytes = w.samples+1, w.packets+r.Packets, w.bytes+r.Bytes
	if r.Marks&traffic.MarkFragment != 0 {
		w.first, w.firstBytes = w.first+r.Packets, w.firstBytes+r.Bytes
	}
}

func (w *weight) mean() uint64 { return w.bytes / max(1, w.packets) }

// ballot counts the packets of each vector.
type ballot struct {
	vectors  []weight // by vectors
	ordinary []weight // by ordinary
	later    weight   // later fragments, which have no ports
	all      weight
	targets  [2]*sketch[netip.Addr] // destinations and sources
	sources  map[netip.Addr]uint64  // samples of each; no more than there are samples
}

func newBallot() *ballot {
	return &ballot{
		vectors: make([]weight, len(vectors)), ordinary: make([]weight, len(ordinary)),
		targets: [2]*sketch[netip.Addr]{newSketch[netip.Addr](), newSketch[netip.Addr]()},
		sources: map[netip.Addr]uint64{},
	}
}

// add counts one sample. payload is that of its UDP datagram, where it is known.
func (b *ballot) add(r *traffic.Record, payload []byte) {
	b.all.add(r)
	b.targets[0].add(r.DstAddr(), r.Packets, r.Bytes)
	b.targets[1].add(r.SrcAddr(), r.Packets, r.Bytes)
	b.sources[r.SrcAddr()]++
	if r.Marks&traffic.MarkLater != 0 {
		b.later.add(r)
		return
	}
	for i := range ordinary {
		if ordinary[i].fits(r) {
			b.ordinary[i].add(r)
			return
		}
	}
	for i := range vectors {
		if v := &vectors[i]; v.fits(r) && !v.isUsual(payload) {
			b.vectors[i].add(r)
			return
		}
	}
}

func (v *vector) fits(r *traffic.Record) bool {
	switch {
	case v.protocol != nil && !slices.Contains(v.protocol, r.Protocol):
		return false
	case r.Protocol == traffic.ProtoTCP && v.protocol != nil && (r.TCPFlags&v.set != v.set || r.TCPFlags&v.clear != 0):
		return false
	}
	return v.services == nil || slices.Contains(v.services, r.SrcPort)
}

func (v *vector) isUsual(payload []byte) bool {
	p := v.usual
	return p != nil && len(payload) > p.at && (payload[p.at]&p.mask == p.value) != p.not
}

// judge finds the label. e tells the target's rates in both directions.
func (b *ballot) judge(e *sdk.Event, flows int) verdict {
	v := verdict{basis: "packets"}
	if flows > 0 {
		v.basis = "flows"
	}
	own := b.ordinaryPackets()
	b.splitFragments(&v)
	shares := b.shares(e, &own, &v)
	total := float64(b.all.packets)
	if ordinary := float64(own) / total; ordinary >= ordinaryShare {
		v.label, v.confidence = labelUnknown, 0
		v.because("%s of the packets look like ordinary traffic", percent(ordinary))
		return v
	}
	attack := total - float64(own)
	if own > 0 {
		v.because("%s of the packets look like ordinary traffic, and are left out", percent(float64(own)/total))
	}
	for i := range shares {
		shares[i].Share /= attack
	}
	shares = slices.DeleteFunc(shares, func(p sdk.LabelPart) bool { return p.Share < partShare })
	sum := 0.0
	for _, p := range shares {
		sum += p.Share
	}
	certain := 1 - 0.5/math.Sqrt(float64(b.all.samples))
	switch {
	case len(shares) > 0 && shares[0].Share >= mostShare:
		v.label, v.confidence = shares[0].Label, shares[0].Share*certain
	case len(shares) > 1 && sum >= mixedShare:
		v.label, v.confidence, v.parts = labelMixed, sum*certain, shares
	default:
		v.label, v.parts = labelUnknown, shares
		v.because("no kind of packet makes up %s of them, nor do several that have %s each", percent(mostShare), percent(partShare))
	}
	if v.basis == "flows" {
		v.confidence *= 0.9 // flags and lengths are those of whole flows
	}
	if e.Scope != "host" && v.label != labelUnknown {
		if share := b.busiest(e.Direction); share < oneTarget {
			v.label, v.parts = labelCarpet, shares
			v.because("the packets are spread over many of our addresses")
		} else {
			v.because("one address has %s of the packets, so that they are not spread", percent(share))
		}
	}
	return v
}

// busiest is the share of packets that the one of our addresses has that has
// most of them.
func (b *ballot) busiest(direction string) float64 {
	ours := b.targets[0]
	if direction == "outgoing" {
		ours = b.targets[1]
	}
	top := ours.top(1, netip.Addr.Compare)
	if len(top) == 0 {
		return 0
	}
	return float64(top[0].packets) / float64(max(1, b.all.packets))
}

func (b *ballot) ordinaryPackets() (n uint64) {
	for i := range b.ordinary {
		n += b.ordinary[i].packets
	}
	return n
}

// splitFragments gives later fragments, which have no ports, to the reflections
// that the first ones belong to: large answers come in pieces. What else is in
// pieces is a flood of fragments, first ones and all.
func (b *ballot) splitFragments(v *verdict) {
	first, others := uint64(0), uint64(0)
	for i := range b.vectors {
		w := &b.vectors[i]
		first += w.first
		if vectors[i].services == nil {
			others += w.first
		}
	}
	if b.later.packets == 0 || float64(first) < firstShare*float64(b.later.packets) {
		return
	}
	later := b.later
	b.later = weight{}
	share := func(part uint64) (packets, bytes uint64) {
		x := float64(part) / float64(first)
		return uint64(x * float64(later.packets)), uint64(x * float64(later.bytes))
	}
	for i := range b.vectors {
		w := &b.vectors[i]
		packets, bytes := share(w.first)
		if vectors[i].services != nil {
			w.packets, w.bytes = w.packets+packets, w.bytes+bytes
			continue
		}
		w.packets, w.bytes = w.packets-w.first, w.bytes-w.firstBytes
		b.later.packets, b.later.bytes = b.later.packets+packets+w.first, b.later.bytes+bytes+w.firstBytes
	}
	if first > others {
		v.because("%s of the packets are later fragments, counted with the first ones", percent(float64(later.packets)/float64(b.all.packets)))
	}
}

// shares lists what the packets are, in packets, the most first, and adds to
// own what proves to be ordinary.
func (b *ballot) shares(e *sdk.Event, own *uint64, v *verdict) (out []sdk.LabelPart) {
	add := func(label, what string, w *weight) {
		if i := slices.IndexFunc(out, func(p sdk.LabelPart) bool { return p.Label == label }); i >= 0 {
			out[i].Share += float64(w.packets)
		} else {
			out = append(out, sdk.LabelPart{Label: label, Share: float64(w.packets)})
		}
		if share := float64(w.packets) / float64(b.all.packets); share >= partShare {
			v.because("%s of the packets are %s, of %d octets on average", percent(share), what, w.mean())
		}
	}
	data := uint64(0)
	for i := range ordinary {
		if ordinary[i].set&ack != 0 {
			data += b.ordinary[i].packets
		}
	}
	for i := range b.vectors {
		w, r := &b.vectors[i], &vectors[i]
		if w.packets == 0 {
			continue
		}
		large := float64(w.packets) >= partShare*float64(b.all.packets)
		if asked := r.asked(e, w, b); asked > 0 {
			*own += w.packets
			if large {
				v.because("%s of the packets are %s, which the target asked for: it sends %.2g times as many", percent(float64(w.packets)/float64(b.all.packets)), r.what, asked)
			}
			continue
		}
		if r.small > 0 && (w.mean() > r.small || float64(data) > dataShare*float64(w.packets)) {
			*own += w.packets
			continue
		}
		label, what := r.label, r.what
		if w.mean() < r.least {
			label = labelUDP
			what += fmt.Sprintf(", too short for a reflection (%d octets)", r.least)
		}
		add(label, what, w)
	}
	if b.later.packets > 0 {
		add(labelFragments, "fragments", &b.later)
	}
	slices.SortStableFunc(out, func(a, b sdk.LabelPart) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.Label, b.Label))
	})
	return out
}

// asked tells how many packets go the other way for each of these, if that is
// enough for these to be answers that the target asked for, or gave to who asked
// for no more than is usual; else 0. Where only one direction is seen nothing
// can be told.
func (v *vector) asked(e *sdk.Event, w *weight, b *ballot) float64 {
	if v.answers == "" {
		return 0
	}
	these, back := e.Incoming, e.Outgoing
	if e.Direction == "outgoing" {
		these, back = back, these
		if rateOf(these, "udp").BPS >= amplifies*rateOf(back, "udp").BPS {
			return 0 // it is a reflector
		}
	}
	got := rateOf(these, "total").PPS * float64(w.packets) / float64(b.all.packets)
	ratio := rateOf(back, v.answers).PPS / got
	if !(ratio >= askedShare) || math.IsInf(ratio, 0) {
		return 0
	}
	return ratio
}

func rateOf(rates []sdk.CounterRate, counter string) sdk.CounterRate {
	for _, r := range rates {
		if r.Counter == counter {
			return r
		}
	}
	return sdk.CounterRate{}
}

// fromCounters is the label that the counters alone give.
func fromCounters(e *sdk.Event) verdict {
	v := verdict{label: labelUnknown, basis: "counters"}
	if e.Scope != "" && e.Scope != "host" {
		v.label, v.confidence = labelCarpet, 0.5
		v.because("the limit is of a %s: its hosts together have crossed it", e.Scope)
		return v
	}
	for _, c := range e.Crossed {
		label := counterNames[c.Counter]
		if strings.HasSuffix(c.Counter, "_reflection") {
			label = c.Counter
		}
		if label != "" {
			v.label, v.confidence = label, 0.7
			v.because("the limit of counter %s was crossed", c.Counter)
			return v
		}
	}
	rates := e.Incoming
	if e.Direction == "outgoing" {
		rates = e.Outgoing
	}
	total := rateOf(rates, "total").PPS
	for _, c := range counterLabels {
		if share := rateOf(rates, c.counter).PPS / max(total, 1); share >= mostShare {
			v.label, v.confidence = c.label, c.confidence*min(share, 1)
			v.because("%s of the packets count as %s", percent(share), c.counter)
			return v
		}
	}
	v.because("no counter has %s of the packets", percent(mostShare))
	return v
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(1000*share)/10, 'f', -1, 64) + " %"
}

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

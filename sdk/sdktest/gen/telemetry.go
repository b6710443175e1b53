package gen

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
)

// Protocol is one in which routers and switches tell of traffic.
type Protocol string

// The protocols.
const (
	NetFlow5 Protocol = "netflow5" // IPv4 only
	NetFlow9 Protocol = "netflow9" // RFC 3954
	IPFIX    Protocol = "ipfix"    // RFC 7011
	SFlow    Protocol = "sflow"    // version 5
)

// Protocols lists them.
func Protocols() []Protocol { return []Protocol{NetFlow5, NetFlow9, IPFIX, SFlow} }

// Telemetry is an exporter that tells of a scenario's packets: in flow
// records, as a router's flow cache gives them, or in sampled frames.
type Telemetry struct {
	Protocol  Protocol
	Sampling  uint32        // looks at one packet in so many; 0 and 1: at each
	Active    time.Duration // a flow that lasts longer is cut; 0: 60 s
	Inactive  time.Duration // a flow without packets for so long is over; 0: 15 s
	Templates time.Duration // time between templates; 0: 30 s
	Domain    uint32        // source id, observation domain or sub-agent; of NetFlow 5 the lowest octet
	Agent     netip.Addr    // sFlow's agent address, IPv4; invalid: 192.0.2.1
	PerPacket int           // flow records or samples in a datagram at most; 0: as many as fit
	Cache     int           // flows in the exporter's cache, the oldest leaves; 0: 65536
	Expanded  bool          // sFlow: samples in their expanded form
	Counters  time.Duration // sFlow: time between counter samples of its interfaces; 0: none
}

// Told is what datagrams tell of.
type Told struct {
	Datagrams uint64 // with records in them
	Records   uint64 // flow records or samples
	Packets   uint64 // packets in them, not multiplied by the sampling rate
	Bytes     uint64 // octets by the IP header, the same
	Skipped   uint64 // IPv6 flows that NetFlow 5 cannot tell of
}

// Datagram is the payload of one UDP datagram. Its sequence numbers and times
// are those that a Stamper sets.
type Datagram struct {
	Time    int64  // when the exporter sends it, nanoseconds since the Unix epoch
	Data    []byte // at most 1464 octets
	Records int    // flow records or samples; 0: templates, or counter samples
	Packets uint64 // packets that they tell of
	Bytes   uint64 // octets by the IP header

	protocol Protocol
	options  int      // records of options in it, which IPFIX numbers too
	clock    uint64   // what the times in the records are relative to, ms
	first    int      // offset of the first record's times
	stride   int      // from one record to the next
	samples  []uint16 // sFlow: offsets of the samples
	rate     uint32   // sFlow
	expanded bool     // sFlow
}

// clone copies a datagram that is to stay.
func (d *Datagram) clone() *Datagram {
	c := *d
	c.Data, c.samples = slices.Clone(d.Data), slices.Clone(d.samples)
	return &c
}

func (t Telemetry) complete() (Telemetry, error) {
	if !slices.Contains(Protocols(), t.Protocol) {
		return t, fmt.Errorf("telemetry: protocol %q; there are %v", t.Protocol, Protocols())
	}
	for _, d := range []struct {
		v     *time.Duration
		unset time.Duration
		name  string
	}{{&t.Active, 60 * time.Second, "active"}, {&t.Inactive, 15 * time.Second, "inactive"}, {&t.Templates, 30 * time.Second, "templates"}} {
		if *d.v < 0 {
			return t, fmt.Errorf("telemetry: %s timeout %v; it must not be negative", d.name, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.unset
		}
	}
	t.Sampling = max(t.Sampling, 1)
	if t.Protocol == NetFlow5 && t.Sampling > maxSampling5 {
		return t, fmt.Errorf("telemetry: sampling 1 in %d; NetFlow 5 has room for 1 in %d", t.Sampling, maxSampling5)
	}
	if !t.Agent.IsValid() {
		t.Agent = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	if !t.Agent.Is4() {
		return t, fmt.Errorf("telemetry: agent %v; an IPv4 address is needed", t.Agent)
	}
	if t.Protocol != SFlow && (t.Expanded || t.Counters != 0) {
		return t, fmt.Errorf("telemetry: %s has no expanded samples and no counter samples; sFlow has", t.Protocol)
	}
	if t.Counters < 0 {
		return t, fmt.Errorf("telemetry: %v between counter samples; it must not be negative", t.Counters)
	}
	if t.PerPacket < 0 || t.Cache < 0 {
		return t, errors.New("telemetry: records in a datagram and flows in the cache must not be negative")
	}
	if t.Cache == 0 {
		t.Cache = 1 << 16
	}
	return t, nil
}

// encoder makes datagrams of what an exporter sees.
type encoder interface {
	// packet takes a packet that the exporter looks at.
	packet(p *Packet)
	// tick sends what has waited for long; end sends all.
	tick(now int64)
	end(now int64)
}

// Datagrams gives every datagram to yield, in order of time, until yield
// returns false; each is valid until yield returns. Times are those of the
// scenario. The exporter's cache is emptied at the end.
func (t *Telemetry) Datagrams(s *Scenario, yield func(*Datagram) bool) (Told, error) {
	full, err := t.complete()
	if err != nil {
		return Told{}, err
	}
	if err := s.Check(); err != nil {
		return Told{}, err
	}
	out := &output{Telemetry: full, yield: yield}
	var enc encoder
	if full.Protocol == SFlow {
		enc = newSampler(out)
	} else {
		enc, err = newMeter(out, s)
	}
	if err != nil {
		return Told{}, err
	}
	rng := s.rng(1 << 32)
	var last int64
	err = s.Packets(func(p *Packet) bool {
		last = p.Time
		enc.tick(p.Time)
		if full.Sampling == 1 || rng.Uint32N(full.Sampling) == 0 {
			enc.packet(p)
		}
		return !out.stopped
	})
	if err == nil && !out.stopped {
		enc.end(last)
	}
	return out.told, err
}

// output is where encoders give their datagrams to.
type output struct {
	Telemetry
	yield     func(*Datagram) bool
	told      Told
	templates int64 // when templates, or counters, were sent last
	started   bool
	stopped   bool
}

// Every is the time between the datagrams of TemplatesOf.
func (t *Telemetry) Every() time.Duration {
	if t.Protocol == SFlow {
		return t.Counters
	}
	return t.Templates
}

// send gives a datagram away, after templates or counters that are due.
func (o *output) send(d *Datagram) {
	if t := TemplatesOf(&o.Telemetry); t != nil && (!o.started || d.Time-o.templates >= int64(o.Every())) {
		t.Time = d.Time
		o.templates = d.Time
		o.stopped = o.stopped || !o.yield(t)
	}
	o.started = true
	if o.stopped {
		return
	}
	o.told.Datagrams++
	o.told.Records += uint64(d.Records)
	o.told.Packets += d.Packets
	o.told.Bytes += d.Bytes
	o.stopped = !o.yield(d)
}

// Pool is datagrams that are sent over and over.
type Pool struct {
	Templates *Datagram // of TemplatesOf, to be sent before the first one and every so often; nil: none
	Datagrams []*Datagram
	Told      Told // by all of them
}

// errEmpty says that a scenario gives nothing to send.
var errEmpty = errors.New("telemetry: the scenario gives no record that the protocol can tell of")

// Pool renders the first datagrams of a scenario, with so many records or all
// there are.
func (t *Telemetry) Pool(s *Scenario, records int) (*Pool, error) {
	p := &Pool{}
	n := 0
	told, err := t.Datagrams(s, func(d *Datagram) bool {
		if d.Records == 0 {
			p.Templates = d.clone()
			return true
		}
		p.Datagrams = append(p.Datagrams, d.clone())
		n += d.Records
		return n < records
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errEmpty
	}
	p.Told = told
	return p, nil
}

// oursOf is the table of a scenario's networks.
func oursOf(s *Scenario) (*prefix.Table, error) {
	entries := make([]prefix.Entry, len(s.Networks))
	for i, n := range s.Networks {
		entries[i] = prefix.Entry{Prefix: n, Value: 1}
	}
	return prefix.Build(entries)
}

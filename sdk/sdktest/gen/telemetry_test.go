package gen

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func telemetryDigest(t *testing.T, x Telemetry, s *Scenario) (string, Told) {
	t.Helper()
	h := sha256.New()
	var last int64
	var stamp Stamper
	told, err := x.Datagrams(s, func(d *Datagram) bool {
		if d.Time < last {
			t.Fatalf("%s: time runs back from %d to %d", x.Protocol, last, d.Time)
		}
		last = d.Time
		if len(d.Data) > maxPayload || len(d.Data)%4 != 0 {
			t.Fatalf("%s: a datagram of %d octets", x.Protocol, len(d.Data))
		}
		stamp.Stamp(d, d.Time)
		h.Write(d.Data)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), told
}

// TestTelemetryTellsAll: the same seed gives the same octets, and every packet
// of the scenario is told of once, whatever the timeouts.
func TestTelemetryTellsAll(t *testing.T) {
	s := everything()
	s.Benign.PPS = 1000
	for i := range s.Attacks {
		s.Attacks[i].PPS /= 5
	}
	var all, four, sampled Told
	_ = s.Packets(func(p *Packet) bool {
		all.Packets++
		all.Bytes += p.Record.Bytes
		if !p.Record.IsIPv6() {
			four.Packets++
			four.Bytes += p.Record.Bytes
		}
		return true
	})
	for _, x := range []Telemetry{
		{Protocol: NetFlow5},
		{Protocol: NetFlow9},
		{Protocol: IPFIX},
		{Protocol: SFlow},
		{Protocol: NetFlow5, Active: 100 * time.Millisecond},
		{Protocol: NetFlow9, Active: 300 * time.Millisecond, Inactive: 200 * time.Millisecond, Cache: 50},
		{Protocol: IPFIX, PerPacket: 1, Cache: 1},
		{Protocol: SFlow, Sampling: 10},
		{Protocol: NetFlow5, Sampling: 10},
		{Protocol: IPFIX, Sampling: 10},
	} {
		one, told := telemetryDigest(t, x, s)
		if two, _ := telemetryDigest(t, x, s); one != two {
			t.Errorf("%+v: the same seed gives other octets", x)
		}
		want := all
		if x.Protocol == NetFlow5 {
			want = four
		}
		if told.Records < told.Datagrams || told.Skipped > 0 != (x.Protocol == NetFlow5) {
			t.Errorf("%+v: %+v", x, told)
		}
		if x.Sampling <= 1 {
			if told.Packets != want.Packets || told.Bytes != want.Bytes {
				t.Errorf("%+v: %+v of %+v", x, told, want)
			}
			continue
		}
		if !within(int(told.Packets*10), float64(want.Packets), 0.1) {
			t.Errorf("%+v: %d packets of %d at 1 in 10", x, told.Packets, want.Packets)
		}
		if x.Protocol != NetFlow5 {
			if sampled.Packets != 0 && (sampled.Packets != told.Packets || sampled.Bytes != told.Bytes) {
				t.Errorf("%+v looks at other packets than sFlow: %+v, %+v", x, told, sampled)
			}
			sampled = told
		}
	}
}

// TestSamplesParse reads each sampled frame back.
func TestSamplesParse(t *testing.T) {
	s := everything()
	s.Duration = 1500 * time.Millisecond
	for i := range s.Attacks {
		s.Attacks[i].Duration = 100 * time.Millisecond
	}
	var truth []traffic.Record
	_ = s.Packets(func(p *Packet) bool { truth = append(truth, p.Record); return true })
	t.Run("compact", func(t *testing.T) { samplesParse(t, s, truth, Telemetry{Protocol: SFlow}) })
	t.Run("expanded", func(t *testing.T) {
		samplesParse(t, s, truth, Telemetry{Protocol: SFlow, Expanded: true, Counters: 100 * time.Millisecond})
	})
}

func samplesParse(t *testing.T, s *Scenario, truth []traffic.Record, x Telemetry) {
	var parser traffic.Parser
	n, counters, head := 0, 0, 0
	if x.Expanded {
		head = expandedHead - sampleHead
	}
	be := binary.BigEndian
	_, err := x.Datagrams(s, func(d *Datagram) bool {
		if d.Records == 0 {
			counters++
			return true
		}
		if be.Uint32(d.Data) != 5 || int(be.Uint32(d.Data[24:])) != d.Records {
			t.Fatalf("header % x", d.Data[:headerSFlow])
		}
		at := headerSFlow
		for range d.Records {
			sample := d.Data[at : at+8+int(be.Uint32(d.Data[at+4:]))]
			raw := sample[sampleHead+head:]
			length, captured := int(be.Uint32(raw[12:])), int(be.Uint32(raw[20:]))
			var r traffic.Record
			o := parser.Ethernet(&r, raw[rawHead:rawHead+captured], length-frameCheck)
			r.Time = truth[n].Time
			if want := truth[n]; o != traffic.OK || r != want {
				t.Fatalf("sample %d: %v\n got %+v\nwant %+v", n, o, r, want)
			}
			n++
			at += len(sample)
		}
		if at != len(d.Data) {
			t.Fatalf("%d octets behind the samples", len(d.Data)-at)
		}
		return true
	})
	if err != nil || n != len(truth) {
		t.Errorf("%d samples of %d packets, %v", n, len(truth), err)
	}
	if want := x.Counters != 0; want != (counters >= 10) {
		t.Errorf("%d datagrams of counters in %v", counters, s.Duration)
	}
}

// TestStamps sends a pool twice: numbers go on, durations stay.
func TestStamps(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 123e6, time.UTC).UnixNano()
	for _, p := range Protocols() {
		pool, err := (&Telemetry{Protocol: p, Sampling: 4}).Pool(everything(), 500)
		if err != nil {
			t.Fatal(err)
		}
		if (pool.Templates != nil) != (p == NetFlow9 || p == IPFIX) || pool.Told.Records < 500 {
			t.Fatalf("%s: %+v", p, pool.Told)
		}
		var stamp Stamper
		var records, sent uint32
		be := binary.BigEndian
		if pool.Templates != nil {
			stamp.Stamp(pool.Templates, at)
			sent++
			if p == IPFIX {
				records++ // the sampling rate
			}
		}
		var before []uint64
		for round := range 2 {
			for i, d := range pool.Datagrams {
				now := at + int64(round)*3600e9 + int64(i)*5e6
				stamp.Stamp(d, now)
				first, last, clock := recordTimes(d, now)
				switch p {
				case NetFlow5:
					if be.Uint32(d.Data[16:]) != records || be.Uint32(d.Data[8:]) != uint32(now/1e9) || be.Uint32(d.Data[12:]) != uint32(now%1e9) {
						t.Fatalf("%s: header % x", p, d.Data[:24])
					}
				case NetFlow9:
					if be.Uint32(d.Data[12:]) != sent || be.Uint32(d.Data[8:]) != uint32(now/1e9) {
						t.Fatalf("%s: header % x", p, d.Data[:20])
					}
				case IPFIX:
					if be.Uint32(d.Data[8:]) != records || be.Uint32(d.Data[4:]) != uint32(now/1e9) {
						t.Fatalf("%s: header % x", p, d.Data[:16])
					}
				case SFlow:
					if be.Uint32(d.Data[16:]) != sent+1 || be.Uint32(d.Data[headerSFlow+sampleSeq:]) != records+1 || be.Uint32(d.Data[headerSFlow+samplePool:]) != 4*(records+1) {
						t.Fatalf("%s: header % x", p, d.Data[:60])
					}
				}
				if first > last || last > clock || clock-first > 100e3 {
					t.Fatalf("%s: a flow from %d to %d, sent at %d", p, first, last, clock)
				}
				if round == 0 {
					before = append(before, clock-first)
				} else if before[i] != clock-first {
					t.Fatalf("%s: a flow began %d ms before it was sent, now %d", p, before[i], clock-first)
				}
				records += uint32(d.Records)
				sent++
			}
		}
	}
}

// recordTimes are the times of the first record and of the datagram, ms.
func recordTimes(d *Datagram, now int64) (first, last, clock uint64) {
	be := binary.BigEndian
	switch d.protocol {
	case SFlow:
		return 0, 0, 0
	case IPFIX:
		return be.Uint64(d.Data[d.first:]), be.Uint64(d.Data[d.first+8:]), uint64(now / 1e6)
	}
	return uint64(be.Uint32(d.Data[d.first:])), uint64(be.Uint32(d.Data[d.first+4:])), uint64(be.Uint32(d.Data[4:]))
}

// TestFlowsAreCut: no flow lasts longer than the active timeout, and one
// without packets is told of soon after the inactive one.
func TestFlowsAreCut(t *testing.T) {
	s := &Scenario{
		Seed: 1, Duration: 30 * time.Second, Networks: everything().Networks,
		Attacks: []Attack{
			{Kind: NTPAmplification, Target: target4, PPS: 2000, Duration: 30 * time.Second},
			{Kind: SYNFlood, Target: target6, PPS: 100, Duration: time.Second},
		},
	}
	x := Telemetry{Protocol: IPFIX, Active: 5 * time.Second, Inactive: 2 * time.Second}
	cut, six := 0, 0
	_, err := x.Datagrams(s, func(d *Datagram) bool {
		if d.Records == 0 {
			return true
		}
		if d.stride > layoutOf(IPFIX, false).size {
			if six += d.Records; d.Time > defaultStart.UnixNano()+6e9 {
				t.Errorf("a flow of the first second is told of after %v", time.Duration(d.Time-defaultStart.UnixNano()))
			}
		}
		for i := range d.Records {
			b := d.Data[d.first+i*d.stride:]
			switch ms := binary.BigEndian.Uint64(b[8:]) - binary.BigEndian.Uint64(b); {
			case ms > 6000:
				t.Fatalf("a flow of %d ms", ms)
			case ms > 4500:
				cut++
			}
		}
		return true
	})
	if err != nil || cut < 2000 || six != 100 {
		t.Errorf("%d flows were cut, %d of IPv6, %v", cut, six, err)
	}
}

func TestOtherSeedOtherTelemetry(t *testing.T) {
	s := &Scenario{Seed: 1, Duration: time.Second, Networks: everything().Networks, Benign: Benign{PPS: 500}}
	for _, p := range Protocols() {
		one, _ := telemetryDigest(t, Telemetry{Protocol: p}, s)
		other := *s
		other.Seed++
		if two, _ := telemetryDigest(t, Telemetry{Protocol: p}, &other); one == two {
			t.Errorf("%s: another seed gives the same octets", p)
		}
	}
}

func TestTelemetryRefuses(t *testing.T) {
	for _, x := range []Telemetry{
		{},
		{Protocol: "netflow7"},
		{Protocol: NetFlow5, Sampling: 20000},
		{Protocol: IPFIX, Active: -1},
		{Protocol: SFlow, Agent: netip.MustParseAddr("::1")},
		{Protocol: IPFIX, PerPacket: -1},
		{Protocol: IPFIX, Expanded: true},
		{Protocol: NetFlow5, Counters: time.Second},
		{Protocol: SFlow, Counters: -1},
	} {
		if _, err := x.Datagrams(everything(), func(*Datagram) bool { return true }); err == nil {
			t.Errorf("%+v is taken", x)
		}
	}
	six := &Scenario{Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, Benign: Benign{PPS: 100}}
	if _, err := (&Telemetry{Protocol: NetFlow5}).Pool(six, 10); err == nil {
		t.Error("a pool without a record is taken")
	}
}

// TestEvenHosts: with Even no host has much more than its share.
func TestEvenHosts(t *testing.T) {
	s := everything()
	s.Attacks, s.Benign.Even, s.Benign.IPv6 = nil, true, 0
	hosts := map[netip.Addr]int{}
	n := collect(t, s, func(p *Packet) {
		ours := p.Record.DstAddr()
		if !s.Networks[0].Contains(ours) {
			ours = p.Record.SrcAddr()
		}
		hosts[ours]++
	})
	for h, k := range hosts {
		if k > 2*n/50 {
			t.Errorf("%v has %d of %d packets", h, k, n)
		}
	}
	if len(hosts) != 50 {
		t.Errorf("%d hosts", len(hosts))
	}
}

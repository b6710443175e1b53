package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// freePort returns an address of this machine at which nobody listens.
func freePort(t *testing.T, host string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// sender sends datagrams to one address.
type sender struct {
	t    *testing.T
	conn net.Conn
}

func dial(t *testing.T, address string) sender {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return sender{t, c}
}

func (s sender) send(datagrams ...[]byte) {
	s.t.Helper()
	for _, d := range datagrams {
		if _, err := s.conn.Write(d); err != nil {
			s.t.Fatal(err)
		}
	}
}

// totals adds up what counts each record once, and the losses by cause.
func totals(deltas []ring.Delta) (packets, octets uint64, lost map[string]uint64) {
	lost = map[string]uint64{}
	names := (&capture{}).Causes()
	for i := range deltas {
		switch d := &deltas[i]; d.Kind {
		case ring.KindHost, ring.KindPrefix, ring.KindTotal:
			packets += d.Packets
			octets += d.Bytes
		case ring.KindLoss:
			lost[names[d.ID]] += d.Packets
		}
	}
	return packets, octets, lost
}

// await waits until so many packets are counted and so many losses too.
func await(t *testing.T, c *sdktest.Collection, packets, losses uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := c.Wait(ctx, func(deltas []ring.Delta) bool {
		got, _, lost := totals(deltas)
		var n uint64
		for _, l := range lost {
			n += l
		}
		return got >= packets && n >= losses
	})
	if err != nil {
		got, _, lost := totals(c.Deltas())
		t.Fatalf("%v: %d of %d packets are counted, lost %v", err, got, packets, lost)
	}
}

// until waits for something to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// device makes datagrams of seven samples of the packets it is given.
type device struct {
	datagram
	rate     uint32
	expanded bool
	n        uint32
	out      [][]byte
}

func (d *device) add(frame []byte) {
	d.n++
	s := flowSample{
		sequence: d.n, index: 5, rate: d.rate, pool: d.n * d.rate, in: 5, out: 6,
		records: [][]byte{header(1, uint32(len(frame)+4), sampledHeader(frame, 128)), tlv(recordSwitch, numbers(10, 0, 10, 0))},
	}
	switch {
	case d.version == version4:
		d.samples = append(d.samples, s.old(header4(1, uint32(len(frame)+4), sampledHeader(frame, 128))))
	case d.expanded:
		d.samples = append(d.samples, s.expanded())
	default:
		d.samples = append(d.samples, s.compact())
	}
	if len(d.samples) == 7 {
		d.flush()
	}
}

func (d *device) flush() {
	if len(d.samples) > 0 {
		d.sequence++
		d.out = append(d.out, d.bytes())
		d.samples = nil
	}
}

const (
	ourNetwork4 = "203.0.113.0/24"
	ourNetwork6 = "2001:db8::/32"
)

// Attacks of either family are counted at their full size, at any sampling
// rate, by the version and form of the samples.
func TestAttacks(t *testing.T) {
	for _, c := range []struct {
		target string
		rate   uint32
		kind   gen.Kind
		device device
	}{
		{"203.0.113.9", 1000, gen.SYNFlood, device{datagram: datagram{agent: agent4}}},
		{"203.0.113.9", 8192, gen.NTPAmplification, device{datagram: datagram{agent: agent4}, expanded: true}},
		{"2001:db8::9", 1000, gen.UDPFlood, device{datagram: datagram{agent: agent6}}},
		{"2001:db8::9", 8192, gen.SYNFlood, device{datagram: datagram{agent: agent6}, expanded: true}},
		{"203.0.113.9", 1000, gen.UDPFlood, device{datagram: datagram{agent: agent4, version: version4}}},
	} {
		t.Run(fmt.Sprintf("%s at 1 in %d", c.target, c.rate), func(t *testing.T) {
			target := netip.MustParseAddr(c.target)
			d := c.device
			d.rate = c.rate
			var packets, octets uint64
			// Each packet of this scenario is one that was sampled.
			s := gen.Scenario{
				Seed: 1, Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix(ourNetwork4), netip.MustParsePrefix(ourNetwork6)},
				Attacks: []gen.Attack{{Kind: c.kind, Target: target, PPS: 700}},
			}
			if err := s.Packets(func(p *gen.Packet) bool {
				d.add(p.Frame)
				packets += uint64(c.rate)
				octets += p.Record.Bytes * uint64(c.rate)
				return true
			}); err != nil {
				t.Fatal(err)
			}
			d.flush()

			address := freePort(t, "127.0.0.1")
			h := sdktest.New(t, plugin(), fmt.Sprintf("listen = [%q]", address))
			col := h.StartCapture(sdktest.Plan(ourNetwork4, ourNetwork6))
			dial(t, address).send(d.out...)
			await(t, col, packets, 0)
			if err := col.Drain(); err != nil {
				t.Fatal(err)
			}
			gotPackets, gotOctets, lost := totals(col.Deltas())
			if gotPackets != packets || gotOctets != octets || len(lost) != 0 {
				t.Errorf("%d packets, %d octets, lost %v; want %d and %d", gotPackets, gotOctets, lost, packets, octets)
			}
			if got := col.Packets(target, ring.Incoming); got != packets {
				t.Errorf("the target has %d packets, want %d", got, packets)
			}
			for _, x := range col.Deltas() {
				if x.Kind == ring.KindHost && x.Direction == ring.Incoming && x.Flags&ring.FlagSmeared != 0 {
					t.Fatalf("a sampled packet is counted as a flow: %+v", x)
				}
			}
		})
	}
}

// Several addresses and sockets serve, both families; after a restart it goes
// on.
func TestListenersAndRestart(t *testing.T) {
	addresses := []string{freePort(t, "127.0.0.1"), freePort(t, "::1"), freePort(t, "127.0.0.1")}
	h := sdktest.New(t, plugin(), fmt.Sprintf("listen = [%q, %q, %q]\nworkers = 2", addresses[0], addresses[1], addresses[2]))
	f := someFrames(7, false)
	for round := range 2 {
		col := h.StartCapture(sdktest.Plan("10.0.0.0/8"))
		for i, a := range addresses {
			for range 3 {
				d := device{datagram: datagram{agent: agent4, subAgent: uint32(i)}, rate: 10}
				for _, frame := range f {
					d.add(frame)
				}
				dial(t, a).send(d.out...)
			}
		}
		await(t, col, 9*7*10, 0)
		if err := col.Drain(); err != nil {
			t.Fatal(err)
		}
		if packets, _, lost := totals(col.Deltas()); packets != 9*7*10 || len(lost) != 0 {
			t.Errorf("round %d: %d packets, lost %v", round, packets, lost)
		}
	}
}

// What is lost is in the ledger by its cause, and the ledger balances.
func TestLedger(t *testing.T) {
	address := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), fmt.Sprintf("listen = [%q]\nsampling = 50", address))
	col := h.StartCapture(sdktest.Plan("10.0.0.0/8"))
	f := someFrames(1, false)[0]
	arp := patched(f[:42], 13, 0x06)
	known := flowSample{rate: 100, records: [][]byte{header(1, 64, f)}}
	silent := known
	silent.rate = 0
	other := flowSample{rate: 100, records: [][]byte{header(1, 42, arp)}}
	dial(t, address).send(
		[]byte("no sFlow at all"),
		wrap(known.compact(), other.compact(), silent.compact(), tlv(99), ifCounters(5, "ae0"), known.discard(256)),
		datagram{agent: agent4, count: 9, samples: [][]byte{known.compact()}}.bytes(),
	)
	await(t, col, 100+50+1+100, 4)
	if err := col.Drain(); err != nil {
		t.Fatal(err)
	}
	packets, _, lost := totals(col.Deltas())
	want := map[string]uint64{"unknown_version": 1, "not_ip": 1, "unknown_sample": 1, "cut_datagram": 1}
	if packets != 251 || fmt.Sprint(lost) != fmt.Sprint(want) {
		t.Errorf("%d packets, lost %v, want %v", packets, lost, want)
	}
	last := col.Flushes()[len(col.Flushes())-1]
	if last.Received != 8 || last.Counted != 4 || last.DroppedTotal != 4 {
		t.Errorf("ledger %+v", last)
	}
}

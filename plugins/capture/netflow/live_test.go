package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// hclOf is the body of a block.
func hclOf(listen netip.AddrPort, more ...string) string {
	return fmt.Sprintf("listen = [%q]\n%s", listen.String(), strings.Join(more, "\n"))
}

func quoted(s string) string { return strconv.Quote(s) }

// freePort is an address on which nobody listens.
func freePort(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		sdktest.Absent(t, "no "+host+" here: "+err.Error())
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// sender is a socket that sends to an address.
func sender(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c *net.UDPConn, datagrams ...[]byte) {
	t.Helper()
	for _, d := range datagrams {
		if _, err := c.Write(d); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), hclOf(netip.MustParseAddrPort("127.0.0.1:0"), "templates = "+quoted(filepath.Join(t.TempDir(), "templates"))))
}

// victims are the targets of the attacks in tests.
var (
	victim4 = netip.MustParseAddr("10.10.0.1")
	victim6 = netip.MustParseAddr("2001:db8::1")
)

// attack makes n flows at a victim, from random sources.
func attack(rng *rand.Rand, victim netip.Addr, n int) (flows []v5Flow, packets uint64) {
	for range n {
		f := random(rng, victim.Is6())
		f.dst, f.first = victim, f.last
		flows = append(flows, f)
		packets += uint64(f.packets)
	}
	return flows, packets
}

func records(flows []v5Flow, fields []spec) (out [][]byte) {
	for _, f := range flows {
		out = append(out, f.record(fields))
	}
	return out
}

// exporterOf makes the datagrams of an exporter: its templates, if any, and data.
func exporterOf(protocol string, flows []v5Flow) (announce, data []byte) {
	if protocol == "v5" {
		var rs [][]byte
		for _, f := range flows {
			rs = append(rs, f.v5())
		}
		return nil, v5Message(uint16(len(rs)), 0, 0, rs...)
	}
	ipfix, v6 := protocol == "ipfix", flows[0].dst.Is6()
	fields := standard(v6, ipfix)
	return message(ipfix, 0, 1, templateSet(ipfix, 300, fields)), message(ipfix, 1, 1, set(300, records(flows, fields)...))
}

var protocols = []string{"v5", "v9", "ipfix"}

// Attacks in all protocols and families, over sockets of both families.
func TestAttacks(t *testing.T) {
	for _, loop := range []string{"127.0.0.1", "::1"} {
		for _, protocol := range protocols {
			for _, victim := range []netip.Addr{victim4, victim6} {
				if protocol == "v5" && victim.Is6() {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%v", loop, protocol, victim), func(t *testing.T) {
					at := freePort(t, loop)
					h := sdktest.New(t, plugin(), hclOf(at))
					c := h.StartCapture(sdktest.Plan("10.10.0.0/16", "2001:db8::/64"))
					s := sender(t, at)
					rng := rand.New(rand.NewPCG(1, uint64(len(protocol))))
					var sum uint64
					for range 20 {
						flows, packets := attack(rng, victim, 12)
						sum += packets
						announce, data := exporterOf(protocol, flows)
						if announce != nil {
							send(t, s, announce)
						}
						send(t, s, data)
					}
					wantPackets(t, c, victim, sum)
				})
			}
		}
	}
}

// wantPackets waits until a victim has got so many packets.
func wantPackets(t *testing.T, c *sdktest.Collection, victim netip.Addr, want uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := func(deltas []ring.Delta) (n uint64) {
		for i := range deltas {
			d := &deltas[i]
			if d.Kind == ring.KindHost && d.Direction == ring.Incoming && d.Prefix().Contains(victim) {
				n += d.Packets
			}
		}
		return n
	}
	if err := c.Wait(ctx, func(d []ring.Delta) bool { return got(d) >= want }); err != nil {
		t.Fatalf("%d packets of %d: %v", got(c.Deltas()), want, err)
	}
	if n := got(c.Deltas()); n != want {
		t.Fatalf("%d packets, want %d", n, want)
	}
}

// After a restart the first datagram decodes with the templates from the disk,
// and is scaled by the rate that the exporter's options told before.
func TestRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "templates")
	for _, protocol := range protocols[1:] {
		at, ipfix := freePort(t, "127.0.0.1"), protocol == "ipfix"
		s := sender(t, at)
		rng := rand.New(rand.NewPCG(7, 7))
		config := hclOf(at, "templates = "+quoted(file))
		options := message(ipfix, 0, 1, optionsSet(ipfix, 301, 1, ids(144, 4, 34, 4)), set(301, []byte{0, 0, 0, 0, 0, 0, 0, 100}))
		for run := range 2 {
			h := sdktest.New(t, plugin(), config)
			c := h.StartCapture(sdktest.Plan("10.10.0.0/16"))
			flows, packets := attack(rng, victim4, 10)
			announce, data := exporterOf(protocol, flows)
			if run == 0 {
				send(t, s, announce, options)
			}
			send(t, s, data)
			wantPackets(t, c, victim4, 100*packets)
			h.Close()
		}
	}
}

// Data that comes before its template counts when that has come.
func TestDataBeforeTemplate(t *testing.T) {
	for _, protocol := range protocols[1:] {
		at := freePort(t, "127.0.0.1")
		h := sdktest.New(t, plugin(), hclOf(at))
		c := h.StartCapture(sdktest.Plan("10.10.0.0/16"))
		s := sender(t, at)
		flows, packets := attack(rand.New(rand.NewPCG(9, 9)), victim4, 10)
		announce, data := exporterOf(protocol, flows)
		send(t, s, data, data, data, announce)
		wantPackets(t, c, victim4, 3*packets)
		rows, err := h.Table("exporters")
		if err != nil || len(rows.Rows) != 1 {
			t.Errorf("exporters: %+v, %v", rows, err)
		}
	}
}

// Doctor names the first fault first.
func TestDoctor(t *testing.T) {
	at := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), hclOf(at))
	c := h.StartCapture(sdktest.Plan("10.10.0.0/16"))
	// Of several rows of a check the last one is this plugin's.
	state := func() map[string]string {
		rows, err := h.Table("doctor")
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, r := range rows.Rows {
			m[r[0]] = r[1]
		}
		return m
	}
	if s := state(); s["bound"] != exporter.StateOK || s["datagrams"] != exporter.StateFault {
		t.Errorf("without datagrams: %v", s)
	}
	s := sender(t, at)
	send(t, s, message(false, 0, 1, set(77, []byte{1, 2, 3, 4})))
	waitFor(t, func() bool { return state()["decoded"] == exporter.StateFault })
	flows, packets := attack(rand.New(rand.NewPCG(9, 9)), victim4, 10)
	announce, data := exporterOf("v9", flows)
	send(t, s, data)
	waitFor(t, func() bool { return state()["templates"] == exporter.StateWarn })
	send(t, s, announce)
	wantPackets(t, c, victim4, packets)
	waitFor(t, func() bool {
		s := state()
		return s["datagrams"] == exporter.StateOK && s["templates"] != exporter.StateWarn
	})
	if _, err := h.Table("nonsense"); err == nil {
		t.Error("there is a table nonsense")
	}
}

// Damaged datagrams over a socket, 2,000 a second: whatever is lost stands in
// the ledger, and good data still counts in the end.
func TestDamagedTraffic(t *testing.T) {
	at := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), hclOf(at))
	c := h.StartCapture(sdktest.Plan("10.10.0.0/16"))
	s := sender(t, at)
	rng := rand.New(rand.NewPCG(11, 11))
	groups := inputs(t)
	const rate = 2000
	began := time.Now()
	for i := range rate * soak(1, 600) {
		group := groups[rng.IntN(len(groups))]
		data := append([]byte(nil), group[rng.IntN(len(group))]...)
		for range 1 + rng.IntN(4) {
			data[rng.IntN(len(data))] ^= byte(1 + rng.IntN(255))
		}
		send(t, s, data)
		if i%20 == 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rate)))
		}
	}
	good := sender(t, at)
	flows, packets := attack(rng, netip.MustParseAddr("10.10.77.77"), 20)
	_, data := exporterOf("v5", flows)
	send(t, good, data)
	wantPackets(t, c, netip.MustParseAddr("10.10.77.77"), packets)
	if err := c.Drain(); err != nil {
		t.Error(err)
	}
	var f ring.Flush
	for _, x := range c.Flushes() {
		f = x
	}
	if f.Received != f.Counted+f.DroppedTotal || f.DroppedTotal == 0 {
		t.Errorf("%d received, %d counted, %d dropped", f.Received, f.Counted, f.DroppedTotal)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	kept := uint64(len(c.Deltas())+len(c.Flushes())) * ring.DeltaSize * 4 // by the harness, which remembers all
	if m.HeapInuse > 512<<20+kept {
		t.Errorf("%d octets of heap, of which the harness may have %d", m.HeapInuse, kept)
	}
}

// Raw datagrams are passed on.
func TestForward(t *testing.T) {
	archive, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	at := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), hclOf(at, fmt.Sprintf("forward \"archive\" {\n  target = %q\n}", archive.LocalAddr())))
	h.StartCapture(sdktest.Plan("10.10.0.0/16"))
	want := message(false, 0, 1, set(999, []byte("whatever it is")))
	send(t, sender(t, at), want)
	buf := make([]byte, 2000)
	if err := archive.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := archive.Read(buf)
	if err != nil || !bytes.Equal(buf[:n], want) {
		t.Errorf("%x, %v", buf[:n], err)
	}
}

// block is an exporter as the core hands it over, known by its domain.
func block(name string, domain int) string {
	return fmt.Sprintf("{ name = %q, source = [\"127.0.0.0/8\"], agent = [], domain = [%d], site = \"\", sampling = 0, count = \"\", interfaces = [], deduplicate = \"\" }", name, domain)
}

// Of two routers behind one address each target gets those that it selects,
// and an unlisted one goes to none but the target for all.
func TestForwardByExporter(t *testing.T) {
	blocks := ""
	sinks := map[string]*net.UDPConn{}
	for name, selects := range map[string]string{
		"all": "", "first": "exporters = [{ name = \"r1\" }]", "others": "except_exporters = [{ name = \"r1\" }]",
	} {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sinks[name] = c
		blocks += fmt.Sprintf("forward %q {\n  target = %q\n  %s\n}\n", name, c.LocalAddr(), selects)
	}
	at := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), hclOf(at, "exporters = ["+block("r1", 1)+", "+block("r2", 2)+"]", blocks))
	h.StartCapture(sdktest.Plan("10.10.0.0/16"))
	s := sender(t, at)
	for domain := range uint32(4) { // 0 and 3 are not listed
		send(t, s, message(true, 0, domain, set(999, []byte("of nobody knows what"))))
	}
	for name, want := range map[string][]byte{"all": {0, 1, 2, 3}, "first": {1}, "others": {0, 2, 3}} {
		buf := make([]byte, 2000)
		for _, domain := range want {
			if err := sinks[name].SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := sinks[name].Read(buf); err != nil || n < 16 || buf[15] != domain {
				t.Errorf("%s: got domain %d of %d octets, %v; want %d", name, buf[15], n, err, domain)
			}
		}
	}
	rows, err := h.Table("forward")
	if err != nil || len(rows.Rows) != 3 {
		t.Errorf("%+v, %v", rows, err)
	}
}

func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not come to that")
		}
	}
}

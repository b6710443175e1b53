package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// sink is a target that keeps what arrives.
func sink(t *testing.T, address string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return c, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func next(t *testing.T, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, MaxDatagram)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func forwarder(t *testing.T, blocks ...Forward) *Forwarder {
	t.Helper()
	f, err := NewForwarder(blocks, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var exporterAt = netip.MustParseAddrPort("127.1.2.3:50001")

func TestForwardsToAll(t *testing.T) {
	a, toA := sink(t, "127.0.0.1:0")
	b, toB := sink(t, "[::1]:0")
	f := forwarder(t, Forward{Name: "a", Target: toA}, Forward{Name: "b", Target: toB})
	batch := []Datagram{{Data: []byte("one"), From: exporterAt}, {Data: nil, From: exporterAt}, {Data: bytes.Repeat([]byte("x"), 20000), From: exporterAt}}
	f.Forward(batch)
	for _, c := range []*net.UDPConn{a, b} {
		for _, want := range batch {
			if got, _ := next(t, c); !bytes.Equal(got, want.Data) {
				t.Errorf("got %d octets, want %d", len(got), len(want.Data))
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Stats() {
		if s.Sent != 3 || s.Dropped != 0 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	}
	if r := f.Rows(); len(r.Rows) != 2 || len(r.Rows[0]) != len(r.Columns) {
		t.Errorf("%+v", r)
	}
}

// A target gets what it selects, in order, and nothing of it is copied for the
// others.
func TestForwardSelects(t *testing.T) {
	names := []string{"r1", "r2", "r3"}
	from := func(list ...string) (out []Exporter) {
		for _, n := range list {
			out = append(out, Exporter{n})
		}
		return out
	}
	// Of each exporter, 0 being nobody that is known, four datagrams in turn.
	var batch []Datagram
	for i := range 16 {
		batch = append(batch, Datagram{Data: fmt.Appendf(nil, "%d/%d", i%4, i/4), From: exporterAt, Exporter: i % 4})
	}
	for name, c := range map[string]struct {
		block Forward
		want  string
	}{
		"all":             {Forward{}, "0/0 1/0 2/0 3/0 0/1 1/1 2/1 3/1 0/2 1/2 2/2 3/2 0/3 1/3 2/3 3/3"},
		"these":           {Forward{Only: from("r3", "r1")}, "1/0 3/0 1/1 3/1 1/2 3/2 1/3 3/3"},
		"all but these":   {Forward{Except: from("r1")}, "0/0 2/0 3/0 0/1 2/1 3/1 0/2 2/2 3/2 0/3 2/3 3/3"},
		"one in five":     {Forward{OneIn: 5}, "0/0 1/1 2/2 3/3"},
		"one in 3 of one": {Forward{Only: from("r2"), OneIn: 3}, "2/0 2/3"},
	} {
		t.Run(name, func(t *testing.T) {
			c.block.Name, c.block.Target = "a", exporterAt
			w := &target{Forward: c.block, queue: newQueue(minQueue), wanted: c.block.selection(names)}
			(&Forwarder{targets: []*target{w}}).Forward(batch)
			w.queue.close()
			var got []string
			for out := w.queue.take(64); out != nil; out = w.queue.take(64) {
				for _, e := range out {
					got = append(got, string(e.data))
				}
				w.queue.release(out)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestProxyHeader(t *testing.T) {
	c, to := sink(t, "127.0.0.1:0")
	f := forwarder(t, Forward{Name: "a", Target: to, AddSource: true})
	six := netip.MustParseAddrPort("[2001:db8::7]:2055")
	f.Forward([]Datagram{{Data: []byte("four"), From: exporterAt}, {Data: []byte("six"), From: six}})
	got, _ := next(t, c)
	want := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\x7f\x01\x02\x03\x7f\x00\x00\x01\xc3\x51"), byte(to.Port()>>8), byte(to.Port()))
	if !bytes.Equal(got, append(want, "four"...)) {
		t.Errorf("IPv4: %q", got)
	}
	got, _ = next(t, c)
	if len(got) != 52+3 || got[13] != 0x22 || got[15] != 36 || netip.AddrFrom16([16]byte(got[16:32])) != six.Addr() || binary.BigEndian.Uint16(got[48:]) != 2055 {
		t.Errorf("IPv6: %q", got)
	}
}

func TestQueueBoundsAndCounts(t *testing.T) {
	q := newQueue(minQueue)
	rnd := rand.New(rand.NewSource(1))
	var want [][]byte
	put, lost := 0, 0
	for round := range 2000 {
		batch := make([]Datagram, 1+rnd.Intn(8))
		for i := range batch {
			batch[i] = Datagram{Data: bytes.Repeat([]byte{byte(round)}, rnd.Intn(3000)), From: netip.AddrPortFrom(exporterAt.Addr(), uint16(round))}
		}
		n := q.put(batch)
		for _, d := range batch[:n] {
			want = append(want, d.Data)
		}
		put, lost = put+n, lost+len(batch)-n
		if round%8 != 0 {
			continue
		}
		out := q.take(24)
		for _, e := range out {
			if !bytes.Equal(e.data, want[0]) || (len(e.data) > 0 && byte(e.from.Port()) != e.data[0]) || e.from.Addr() != exporterAt.Addr() {
				t.Fatalf("round %d: got %d octets, want %d", round, len(e.data), len(want[0]))
			}
			want = want[1:]
		}
		q.release(out)
	}
	if lost == 0 || put == 0 {
		t.Fatalf("%d put, %d lost: the test does not fill the queue", put, lost)
	}
	q.close()
	if n := q.discard(); n != len(want) {
		t.Errorf("%d were left, want %d", n, len(want))
	}
	if q.put(make([]Datagram, 1)) != 0 {
		t.Error("a closed queue takes a datagram")
	}
}

func TestDeadTargetIsCounted(t *testing.T) {
	gone, to := sink(t, "127.0.0.1:0")
	gone.Close()
	alive, toAlive := sink(t, "127.0.0.1:0")
	f := forwarder(t, Forward{Name: "dead", Target: to}, Forward{Name: "alive", Target: toAlive})
	const n = 50
	for range n {
		f.Forward([]Datagram{{Data: []byte("x"), From: exporterAt}})
		next(t, alive)
	}
	f.Close()
	s := f.Stats()
	if s[0].Failed == 0 || s[0].Sent+s[0].Failed+s[0].Dropped != n {
		t.Errorf("dead: %+v", s[0])
	}
	if s[1].Sent != n {
		t.Errorf("alive: %+v", s[1])
	}
}

func TestForwardRefuses(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.1:9995")
	for _, c := range []struct {
		blocks []Forward
		want   string
	}{
		{[]Forward{{Name: "a", Target: to}, {Name: "a", Target: to}}, "Duplicate block"},
		{[]Forward{{Name: "a", Target: netip.MustParseAddrPort("0.0.0.0:1")}}, "Invalid target"},
		{[]Forward{{Name: "a", Target: netip.MustParseAddrPort("192.0.2.1:0")}}, "Invalid target"},
		{[]Forward{{Name: "a", Target: to, KeepSource: true, AddSource: true}}, "Contradiction"},
		{[]Forward{{Name: "a", Target: to, Queue: 1}}, "Queue out of range"},
		{[]Forward{{Name: "a", Target: to, OneIn: -1}}, "Number out of range"},
		{[]Forward{{Name: "a", Target: to, Only: []Exporter{{"r1"}}, Except: []Exporter{{"r2"}}}}, "Contradiction"},
		{[]Forward{{Name: "a", Target: to, Only: []Exporter{{"r3"}}}}, "Exporter not listened to"},
		{[]Forward{{Name: "a", Target: to, Except: []Exporter{{"r3"}}}}, "Exporter not listened to"},
	} {
		f, err := NewForwarder(c.blocks, []string{"r1", "r2"}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.blocks, err, c.want)
		}
		f.Close()
	}
	if f, err := NewForwarder(nil, nil, nil); f != nil || err != nil {
		t.Errorf("no blocks: %v, %v", f, err)
	}
	var none *Forwarder
	none.Forward([]Datagram{{}})
	if none.Stats() != nil || none.Close() != nil {
		t.Error("a nil forwarder does something")
	}
}

func TestForwardDoesNotAllocate(t *testing.T) {
	_, to := sink(t, "127.0.0.1:0")
	f := forwarder(t, Forward{Name: "a", Target: to, Queue: sdk.Size(minQueue)})
	batch := make([]Datagram, 64)
	for i := range batch {
		batch[i] = Datagram{Data: make([]byte, 1464), From: exporterAt}
	}
	if n := testing.AllocsPerRun(100, func() { f.Forward(batch) }); n > 0.5 {
		t.Errorf("%v allocations a batch", n)
	}
}

package main

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// hostile makes datagrams of all kinds with some octets, lengths and ends
// gone wrong, the same from the same seed.
type hostile struct {
	rng   *rand.Rand
	whole [][]byte
}

func newHostile(seed uint64) *hostile {
	h := &hostile{rng: rand.New(rand.NewPCG(seed, 1))}
	all := corpus()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h.whole = append(h.whole, all[name])
	}
	datagrams, _ := benchDatagrams(8, flowSample.compact)
	h.whole = append(h.whole, datagrams...)
	return h
}

func (h *hostile) next() []byte {
	b := slices.Clone(h.whole[h.rng.IntN(len(h.whole))])
	for range h.rng.IntN(6) {
		switch at := h.rng.IntN(len(b)); h.rng.IntN(8) {
		case 0:
			b = b[:at+1]
		case 1: // an extreme number
			copy(b[at&^3:], numbers([]uint32{0, 1, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff}[h.rng.IntN(6)]))
		case 2:
			b = append(b, b[at:]...)
			b = b[:min(len(b), 9000)]
		default:
			b[at] ^= byte(1 << h.rng.IntN(8))
		}
	}
	return b
}

// Whatever arrives, each sample ends in a record or in the ledger, and memory
// stays where it is.
func TestHostile(t *testing.T) {
	cfg := defaults()
	cfg.MaxExporters = 50
	b := newBench(t, cfg)
	w := &tallying{}
	b.w = w
	h := newHostile(1)
	for range 3000 { // let caches fill
		b.give(h.next())
	}
	before := heap()
	for range 27_000 {
		b.give(h.next())
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("memory has grown by %d octets", grown)
	}
	total := b.total()
	var lost uint64
	for _, n := range total.lost {
		lost += n
	}
	if w.records != total.records || w.lost != lost || total.datagrams != 30_000 || w.records == 0 {
		t.Errorf("%d records and %d losses were given, %d and %d are shown for %d datagrams", w.records, w.lost, total.records, lost, total.datagrams)
	}
	if w.huge > 0 {
		t.Errorf("%d records of more than %d octets a packet", w.huge, maxFrame)
	}
}

// tallying is a writer that counts records and losses.
type tallying struct {
	counter
	records, lost, huge uint64
}

func (w *tallying) Commit(n int, frame func(int) []byte) {
	for i := range n {
		_ = frame(i)
		if r := &w.buf[i]; r.Bytes > r.Packets*maxFrame {
			w.huge++
		}
	}
	w.records += uint64(n)
}

func (w *tallying) Dropped(_ int, n uint64) { w.lost += n }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The same over a socket: 2,000 datagrams a second, for 10 minutes where long
// tests are asked for. After that it still counts, and the ledger balances.
func TestHostileLive(t *testing.T) {
	span := 2 * time.Second
	if os.Getenv("FASTNETMON_SOAK") != "" {
		span = 10 * time.Minute
	}
	address := freePort(t, "127.0.0.1")
	h := sdktest.New(t, plugin(), `listen = ["`+address+`"]`)
	col := h.StartCapture(sdktest.Plan("10.0.0.0/8", ourNetwork6))
	s, source := dial(t, address), newHostile(2)
	const perTick = 40
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end); <-tick.C {
		for range perTick {
			s.send(source.next())
		}
	}
	host := netip.MustParseAddr("10.99.99.99")
	good := flowSample{rate: 50, records: [][]byte{tlv(recordIPv4, decodedIP(60, 17, src4, host, 53, 5353, 0, 0))}}
	s.send(datagram{agent: agent6, subAgent: 77, samples: [][]byte{good.compact()}}.bytes())
	until(t, "a good sample counts", func() bool { return col.Packets(host, ring.Incoming) == 50 })
	if err := col.Drain(); err != nil {
		t.Fatal(err)
	}
	last := col.Flushes()[len(col.Flushes())-1]
	if last.Received != last.Counted+last.DroppedTotal || last.Counted == 0 {
		t.Errorf("ledger %+v", last)
	}
}

// Datagrams are passed on as they came, those of the agent that is asked for.
func TestForward(t *testing.T) {
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	address := freePort(t, "127.0.0.1")
	agent := `{ name = "r1", source = [], agent = ["192.0.2.1/32"], domain = [], site = "", sampling = 0, count = "", interfaces = [], deduplicate = "" }`
	h := sdktest.New(t, plugin(), `listen = ["`+address+`"]
exporters = [`+agent+`]
forward "copy" {
  target    = "`+to.LocalAddr().String()+`"
  exporters = [{ name = "r1" }]
}`)
	h.StartCapture(sdktest.Plan("10.0.0.0/8"))
	want := specimens()["mixed"]
	dial(t, address).send([]byte("of another agent"), want)
	buf := make([]byte, 9000)
	if err := to.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := to.ReadFrom(buf)
	if err != nil || string(buf[:n]) != string(want) {
		t.Errorf("%v: %d octets, want %d", err, n, len(want))
	}
	rows, err := h.Table("forward")
	if err != nil || len(rows.Rows) != 1 {
		t.Errorf("%v: %+v", err, rows)
	}
}

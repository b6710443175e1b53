package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// recorder is a writer that keeps what it is given.
type recorder struct {
	size    int // of a reservation
	buf     []traffic.Record
	records []traffic.Record
	frames  [][]byte
	infos   [][2]int // of frames: link type, length on the wire
	info    func(i int) (link, wire int)
	lost    [causes]uint64
}

func (w *recorder) Reserve(n int) []traffic.Record {
	if w.size > 0 {
		n = min(n, w.size)
	}
	if len(w.buf) < n {
		w.buf = make([]traffic.Record, n)
	}
	return w.buf[:n]
}

func (w *recorder) Commit(n int, frame func(i int) []byte) {
	for i := range n {
		w.records = append(w.records, w.buf[i])
		w.frames = append(w.frames, append([]byte(nil), frame(i)...))
		if w.info != nil {
			link, wire := w.info(i)
			w.infos = append(w.infos, [2]int{link, wire})
		}
	}
}

func (w *recorder) Dropped(cause int, n uint64) { w.lost[cause] += n }

// bench is a capture with one worker, without sockets.
type bench struct {
	*capture
	*worker
	out *recorder
}

func newBench(t testing.TB, c config) bench {
	t.Helper()
	x, err := newCapture(c, sdk.Env{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	x.stats = make([]stats, 1)
	w := &recorder{}
	return bench{x, x.newWorker(w, &x.stats[0]), w}
}

var sender4 = netip.MustParseAddrPort("192.0.2.77:40000")

func (b bench) give(datagrams ...[]byte) {
	var batch []udp.Datagram
	for _, d := range datagrams {
		batch = append(batch, udp.Datagram{Data: d, From: sender4})
	}
	b.batch(batch, time.Now().UnixNano(), 0)
}

// cell returns a value of the one exporter's row.
func (b bench) cell(t *testing.T, column string) string {
	t.Helper()
	rows, err := b.Table(t.Context(), exporter.TableExporters)
	if err != nil || len(rows.Rows) != 1 {
		t.Fatalf("%v: %+v", err, rows)
	}
	for i, name := range rows.Columns {
		if name == column {
			return rows.Rows[0][i]
		}
	}
	t.Fatalf("no column %q in %q", column, rows.Columns)
	return ""
}

// A sampled packet counts as many times as its rate says, carries time,
// exporter and interfaces, and the frame behind it is at hand.
func TestScale(t *testing.T) {
	b := newBench(t, defaults())
	b.out.size = 3 // smaller than a datagram's samples
	b.out.info = b.frameInfo
	f := someFrames(7, false)
	d := device{datagram: datagram{agent: agent4}, rate: 1000}
	for _, x := range f {
		d.add(x)
	}
	b.give(d.out...)
	if len(b.out.records) != 7 || b.out.lost != [causes]uint64{} {
		t.Fatalf("%d records, lost %v", len(b.out.records), b.out.lost)
	}
	for i, r := range b.out.records {
		want := parsed(f[i])
		if r.Packets != 1000 || r.Bytes != 1000*want.Bytes || r.Sampling != 1000 || r.Raw() != 1 || r.Src != want.Src ||
			r.InIf != 5 || r.OutIf != 6 || r.VLAN != 10 || r.Exporter == 0 || r.Time == 0 || r.Marks&traffic.MarkFlow != 0 {
			t.Errorf("record %d: %+v", i, r)
		}
		if string(b.out.frames[i]) != string(sampledHeader(f[i], 128)) {
			t.Errorf("record %d: frame % x", i, b.out.frames[i])
		}
		if b.out.infos[i] != [2]int{int(traffic.LinkEthernet), len(f[i]) + 4} { // with its FCS
			t.Errorf("record %d: link type and length %v, want those of a frame of %d octets", i, b.out.infos[i], len(f[i]))
		}
	}
}

// The rate of a sample comes before that of the exporter's block, which comes
// before the capture's; without any a packet counts once and that is shown.
func TestRate(t *testing.T) {
	f := someFrames(1, false)[0]
	for name, c := range map[string]struct {
		told  uint32
		block []exporter.Block
		rate  uint32
		want  uint64
		from  string
	}{
		"sample":  {1000, []exporter.Block{{Name: "r", Sampling: 20}}, 30, 1000, "record"},
		"block":   {0, []exporter.Block{{Name: "r", Sampling: 20}}, 30, 20, "block"},
		"capture": {0, nil, 30, 30, "default"},
		"nothing": {0, nil, 0, 1, "unknown"},
	} {
		cfg := defaults()
		cfg.Exporters, cfg.Sampling = c.block, c.rate
		b := newBench(t, cfg)
		for range 2 {
			d := device{datagram: datagram{agent: agent4}, rate: c.told}
			d.add(f)
			d.flush()
			b.give(d.out...)
		}
		if len(b.out.records) != 2 || b.out.records[1].Packets != c.want || b.cell(t, "sampling from") != c.from {
			t.Errorf("%s: %d records of %d packets from %q", name, len(b.out.records), b.out.records[0].Packets, b.cell(t, "sampling from"))
		}
	}
}

// Rates belong to the data source: those of two do not mix.
func TestRatePerSource(t *testing.T) {
	b := newBench(t, defaults())
	f := someFrames(1, false)[0]
	s := func(index, rate uint32) []byte {
		return flowSample{index: index, rate: rate, records: [][]byte{header(1, 64, f)}}.compact()
	}
	b.give(wrap(s(1, 100), s(2, 8192), s(1, 100), s(2, 8192)), wrap(s(1, 50)))
	var got []uint64
	for _, r := range b.out.records {
		got = append(got, r.Packets)
	}
	if fmt.Sprint(got) != "[100 8192 100 8192 50]" {
		t.Errorf("%v", got)
	}
	if got := b.cell(t, "sampling"); got != "50-8192" {
		t.Errorf("sampling is shown as %q", got)
	}
}

// A notice of a drop counts once, as dropped.
func TestDiscard(t *testing.T) {
	cfg := defaults()
	cfg.Sampling = 400
	b := newBench(t, cfg)
	f := someFrames(1, false)[0]
	s := flowSample{index: 3, rate: 1000, records: [][]byte{header(1, 64, f)}}
	out := s
	out.outFormat, out.out = 1, 256
	b.give(wrap(s.discard(256), out.compact()))
	if n := len(b.out.records); n != 2 {
		t.Fatalf("%d records", n)
	}
	for i, want := range []uint64{1, 1000} {
		if r := b.out.records[i]; r.Packets != want || r.Marks&traffic.MarkDropped == 0 {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if got := b.cell(t, "discards"); got != "1" {
		t.Errorf("%s discards are shown", got)
	}
}

// Samples and datagrams that are missing, and samples that the device has
// dropped, are shown.
func TestSequence(t *testing.T) {
	b := newBench(t, defaults())
	f := someFrames(1, false)[0]
	send := func(datagramNumber, sequence, drops uint32) {
		s := flowSample{sequence: sequence, index: 1, rate: 10, drops: drops, records: [][]byte{header(1, 64, f)}}
		b.give(datagram{agent: agent4, sequence: datagramNumber, samples: [][]byte{s.compact()}}.bytes())
	}
	want := func(lost, samples, drops string) {
		t.Helper()
		if l, s, d := b.cell(t, "lost"), b.cell(t, "samples lost"), b.cell(t, "agent drops"); l != lost || s != samples || d != drops {
			t.Errorf("%s datagrams, %s samples lost, %s dropped; want %s, %s, %s", l, s, d, lost, samples, drops)
		}
	}
	send(100, 1000, 77)
	send(101, 1001, 77)
	want("0", "0", "0")
	send(103, 1005, 80)
	want("1", "3", "3")
	send(102, 1003, 78) // late
	want("0", "2", "3")
	send(104, 1006, 80)
	want("0", "2", "3")
	send(1, 1, 0) // the device has started again
	send(2, 2, 1)
	want("0", "2", "4")
	if n := len(b.out.records); n != 7 {
		t.Errorf("%d records of 7 samples", n)
	}
}

// A device that samples a port in both directions may number each apart under
// one data source: nothing is missing then.
func TestSequenceBothWays(t *testing.T) {
	b := newBench(t, defaults())
	f := someFrames(1, false)[0]
	for i := range uint32(20) {
		var samples [][]byte
		for _, begin := range []uint32{100, 100, 7_000, 7_000, 7_000} {
			begin += i * 3
			if n := uint32(len(samples)); n < 2 {
				begin += n - i
			} else {
				begin += n - 2
			}
			samples = append(samples, flowSample{sequence: begin, index: 1, rate: 10, drops: begin / 1000, records: [][]byte{header(1, 64, f)}}.compact())
		}
		b.give(datagram{agent: agent4, sequence: i, samples: samples}.bytes())
	}
	if got, drops := b.cell(t, "samples lost"), b.cell(t, "agent drops"); got != "0" || drops != "0" {
		t.Errorf("%s samples are lost, %s dropped", got, drops)
	}
}

// What a device counts itself is held against the rate it tells, whatever is
// lost on the way; where it counts nothing, nothing is.
func TestPool(t *testing.T) {
	f := someFrames(1, false)[0]
	for name, c := range map[string]struct {
		samples, rate int
		pool          func(i int) int
		lose          func(i int) bool
		want          string
		differs       bool
	}{
		"right":          {2000, 100, func(i int) int { return 100 * i }, nil, "100", false},
		"half are lost":  {4000, 100, func(i int) int { return 100 * i }, func(i int) bool { return i%2 == 0 }, "100", false},
		"backed off":     {2000, 100, func(i int) int { return 800 * i }, nil, "800", true},
		"too many":       {2000, 1000, func(i int) int { return 10 * i }, nil, "10", true},
		"somewhat off":   {2000, 100, func(i int) int { return 150 * i }, nil, "150", false},
		"not filled in":  {2000, 100, func(int) int { return 0 }, nil, "", false},
		"too few":        {500, 100, func(i int) int { return 800 * i }, nil, "", false},
		"it wraps":       {2000, 100, func(i int) int { return 1<<32 - 50_000 + 100*i }, nil, "100", false},
		"starts again":   {4000, 100, func(i int) int { return 100 * (i % 1000) }, nil, "100", false},
		"gap in between": {3000, 100, func(i int) int { return 100 * i }, func(i int) bool { return i > 1000 && i < 1900 }, "100", false},
	} {
		b := newBench(t, defaults())
		number := uint32(0)
		for i := range c.samples {
			sequence := uint32(i)
			if name == "starts again" {
				sequence = uint32(i%1000) + 1
			}
			if c.lose != nil && c.lose(i) {
				continue
			}
			number++
			s := flowSample{sequence: sequence, index: 1, rate: uint32(c.rate), pool: uint32(c.pool(i)), records: [][]byte{header(1, 64, f)}}
			b.give(datagram{agent: agent4, sequence: number, samples: [][]byte{s.compact()}}.bytes())
		}
		if got, notes := b.cell(t, "pool sampling"), b.cell(t, "notes"); got != c.want || notes == "sampling_differs_from_pool" != c.differs {
			t.Errorf("%s: sampling by the pool %q, notes %q; want %q", name, got, notes, c.want)
		}
		rows, err := b.Table(t.Context(), exporter.TableDoctor)
		if err != nil {
			t.Fatal(err)
		}
		warned := slices.ContainsFunc(rows.Rows, func(r []string) bool { return r[0] == "sampling" && r[1] == exporter.StateWarn })
		if warned != c.differs {
			t.Errorf("%s: doctor says %q", name, rows.Rows)
		}
	}
}

// Two directions numbered apart have pools of their own.
func TestPoolBothWays(t *testing.T) {
	b := newBench(t, defaults())
	f := someFrames(1, false)[0]
	for i := range uint32(3000) {
		var samples [][]byte
		for k, begin := range []uint32{100, 7_000_000} {
			s := flowSample{sequence: begin + i, index: 1, rate: 10, pool: uint32(k)<<30 + 10*i, records: [][]byte{header(1, 64, f)}}
			samples = append(samples, s.compact())
		}
		b.give(datagram{agent: agent4, sequence: i, samples: samples}.bytes())
	}
	if got := b.cell(t, "pool sampling"); got != "10" {
		t.Errorf("sampling by the pool %q", got)
	}
}

// The counters of a device are shown, its interfaces' names are learned: by
// them a block chooses what counts.
func TestInterfaces(t *testing.T) {
	cfg := defaults()
	cfg.Exporters = []exporter.Block{{Name: "r1", Agent: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Interfaces: []string{"ae0"}, Count: "ingress"}}
	b := newBench(t, cfg)
	f := someFrames(1, false)[0]
	s := func(source, in, out uint32) []byte {
		return flowSample{index: source, rate: 10, in: in, out: out, records: [][]byte{header(1, 64, f)}}.compact()
	}
	b.give(wrap(ifCounters(12, "ae0"), ifCounters(13, "ae1")))
	b.give(wrap(s(12, 12, 99), s(13, 13, 99), s(12, 98, 12)))
	if n := len(b.out.records); n != 1 || b.out.records[0].InIf != 12 {
		t.Errorf("%d records: %+v", n, b.out.records)
	}
	if fmt.Sprint(losses(&b.out.lost)) != "map[interface_not_wanted:1 not_metered_direction:1]" {
		t.Errorf("lost %v", losses(&b.out.lost))
	}
	if got := b.cell(t, "counter samples"); got != "2" {
		t.Errorf("%s counter samples are shown", got)
	}
	if name := b.cell(t, "exporter"); name != "r1" {
		t.Errorf("the exporter is called %q", name)
	}
}

// Who is not listed is refused, and accounted for.
func TestNotListed(t *testing.T) {
	cfg := defaults()
	cfg.Exporters = []exporter.Block{{Name: "r1", Agent: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}}}
	b := newBench(t, cfg)
	s := flowSample{rate: 1, records: [][]byte{header(1, 64, someFrames(1, false)[0])}}.compact()
	b.give(wrap(s, s), datagram{agent: netip.MustParseAddr("192.0.2.2"), samples: [][]byte{s}}.bytes())
	if len(b.out.records) != 1 || fmt.Sprint(losses(&b.out.lost)) != "map[exporter_not_listed:1]" {
		t.Errorf("%d records, lost %v", len(b.out.records), losses(&b.out.lost))
	}
}

// Two devices behind one address stay apart, by agent and by sub-agent.
func TestBehindOneAddress(t *testing.T) {
	b := newBench(t, defaults())
	s := flowSample{rate: 0, records: [][]byte{header(1, 64, someFrames(1, false)[0])}}.compact()
	for i, g := range []datagram{{agent: agent4}, {agent: agent6}, {agent: agent4, subAgent: 1}, {agent: agent4, version: 4}} {
		if g.version == version4 {
			s = flowSample{}.old(header4(1, 64, someFrames(1, false)[0]))
		}
		g.samples = [][]byte{s}
		b.give(g.bytes())
		if all := b.set.All(); len(all) != i+1 {
			t.Errorf("%d exporters after %d", len(all), i+1)
		}
	}
}

// 100,000 invented devices and data sources take bounded memory.
func TestManyExporters(t *testing.T) {
	cfg := defaults()
	cfg.MaxExporters = 100
	b := newBench(t, cfg)
	f := header(1, 64, someFrames(1, false)[0])
	for i := range uint32(100_000) {
		s := flowSample{sequence: i * 3, index: i, rate: 10, records: [][]byte{f}}
		b.give(datagram{agent: agent4, subAgent: i, samples: [][]byte{s.compact()}}.bytes())
	}
	if n, lost := len(b.set.All()), b.out.lost[causeTooMany]; n > 100 || lost+uint64(len(b.out.records)) != 100_000 {
		t.Errorf("%d exporters, %d records, %d refused", n, len(b.out.records), lost)
	}
	if n := len(b.capture.agents.of); n > 2*100+sweepAtFirst {
		t.Errorf("%d tallies are kept", n)
	}
}

// What doctor says of this part of the way.
func TestDoctor(t *testing.T) {
	good := flowSample{rate: 10, records: [][]byte{header(1, 64, someFrames(1, false)[0])}}.compact()
	dropped := flowSample{sequence: 1, rate: 10, drops: 100, records: [][]byte{header(1, 64, someFrames(1, false)[0])}}.compact()
	later := flowSample{sequence: 50, rate: 10, records: [][]byte{header(1, 64, someFrames(1, false)[0])}}.compact()
	arp := flowSample{rate: 10, records: [][]byte{header(1, 64, patched(someFrames(1, false)[0], 13, 6))}}.compact()
	for name, c := range map[string]struct {
		datagrams [][]byte
		check     string
		state     string
	}{
		"nothing":         {nil, "datagrams", exporter.StateFault},
		"all well":        {[][]byte{wrap(good)}, "samples", exporter.StateOK},
		"no sFlow":        {[][]byte{[]byte("hello, world")}, "decoded", exporter.StateFault},
		"only counters":   {[][]byte{wrap(ifCounters(1, "a"))}, "samples", exporter.StateFault},
		"nothing at all":  {[][]byte{wrap()}, "samples", exporter.StateFault},
		"no IP":           {[][]byte{wrap(arp)}, "samples", exporter.StateFault},
		"device drops":    {[][]byte{wrap(good, dropped)}, "samples", exporter.StateWarn},
		"samples missing": {[][]byte{wrap(good, later)}, "samples", exporter.StateWarn},
	} {
		b := newBench(t, defaults())
		conns, err := udp.Listen("127.0.0.1:0", 1, udp.Options{ReceiveBuffer: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		b.conns = conns
		b.give(c.datagrams...)
		if len(c.datagrams) == 0 {
			b.capture.stats[0].datagrams.Store(0)
		}
		rows, err := b.Table(t.Context(), exporter.TableDoctor)
		if err != nil {
			t.Fatal(err)
		}
		first := []string{"samples", exporter.StateOK}
		for _, r := range slices.Backward(rows.Rows) {
			if r[1] == exporter.StateFault || r[1] == exporter.StateWarn && first[1] != exporter.StateFault {
				first = r
			}
		}
		if first[0] != c.check || first[1] != c.state {
			t.Errorf("%s: %q, want %s %s first", name, rows.Rows, c.check, c.state)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What the project's own generator tells is counted to the octet.
func TestGenerated(t *testing.T) {
	generated(t, gen.Telemetry{Protocol: gen.SFlow, Sampling: 8, Domain: 3}, 0)
	generated(t, gen.Telemetry{Protocol: gen.SFlow, Sampling: 8, Domain: 3, Expanded: true, Counters: 100 * time.Millisecond}, 20)
}

func generated(t *testing.T, telemetry gen.Telemetry, counters int) {
	t.Helper()
	s := gen.Scenario{
		Seed: 1, Duration: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix(ourNetwork4), netip.MustParsePrefix(ourNetwork6)},
		Benign:  gen.Benign{PPS: 20_000, IPv6: 0.3, VLAN: 0.2},
		Attacks: []gen.Attack{{Kind: gen.DNSAmplification, Target: dst4, PPS: 10_000}},
	}
	cfg := defaults()
	if counters > 0 { // the names that come with the counters choose what counts
		cfg.Exporters = []exporter.Block{{Name: "r1", Agent: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Interfaces: []string{"uplink", "!other"}}}
	}
	b := newBench(t, cfg)
	var stamp gen.Stamper
	told, err := telemetry.Datagrams(&s, func(d *gen.Datagram) bool {
		stamp.Stamp(d, d.Time)
		b.give(d.Data)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	var packets, octets uint64
	for i := range b.out.records {
		packets += b.out.records[i].Packets
		octets += b.out.records[i].Bytes
	}
	if told.Records == 0 || packets != 8*told.Packets || octets != 8*told.Bytes || b.out.lost != [causes]uint64{} {
		t.Errorf("%d packets, %d octets, lost %v; told of %+v", packets, octets, losses(&b.out.lost), told)
	}
	if n, err := strconv.Atoi(b.cell(t, "counter samples")); err != nil || n < counters*9/10 || n > counters+4 {
		t.Errorf("%d counter samples, want %d", n, counters)
	}
	if got := b.cell(t, "pool sampling"); got != "8" {
		t.Errorf("sampling by the pool %q", got)
	}
	if got := b.cell(t, "samples lost"); got != "0" {
		t.Errorf("%s samples lost", got)
	}
}

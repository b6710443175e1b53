package engine

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// flowPath is what flow records pass: a capture's table, and the engine.
type flowPath struct {
	t     *testing.T
	e     *Engine
	id    RingID
	table *count.Table
	now   int64
	free  int
}

func newFlowPath(t *testing.T, limits ...Limit) *flowPath {
	t.Helper()
	p := &flowPath{t: t, e: newEngine(t, Options{}, testPlan(1, limits...)), now: origin, free: 1 << 20}
	p.id = p.e.AddRing(1)
	c, err := count.Compile(&count.Plan{Revision: 1, Groups: []count.Group{{ID: 1, Bytes: 150e6}}, Prefixes: []count.Prefix{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Network: 1, Group: 1},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Network: 1, Group: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.table = count.NewTable(c)
	return p
}

func (p *flowPath) Free() int { return p.free }

func (p *flowPath) Write(batch []ring.Delta) int {
	if err := p.e.Apply(p.id, batch); err != nil {
		p.t.Fatal(err)
	}
	return len(batch)
}

// step ends the present window.
func (p *flowPath) step() {
	p.now = (p.now/step + 1) * step
	p.table.Flush(p, count.Window{End: p.now, Generation: 1})
}

// flowRecord is a flow to host n that carried bytes in packets of 1000.
func flowRecord(n uint32, six bool, port uint16, bytes uint64, durationMs uint32, spread uint8) traffic.Record {
	r := traffic.Record{
		Packets: bytes / 1000, Bytes: bytes, DurationMs: durationMs, Spread: spread, Protocol: 17,
		Marks: traffic.MarkFlow, SrcPort: port, DstPort: 443, Src: v4(8<<24 | 8), Dst: host(n, six),
	}
	if six {
		r.Marks |= traffic.MarkIPv6
		r.Src = netip.MustParseAddr("2a00::1").As16()
	}
	return r
}

// cutFlows is how an exporter tells of steady flows: a record when a flow is
// cut, and one after it left.
type cutFlows struct {
	flows   int
	timeout int64 // ms
	jitter  int64 // ms by which the cut, or only the export, is late
	late    bool  // only the export
	hosts   int
	six     bool
}

type export struct {
	at int64 // ns
	r  traffic.Record
}

const gigabit = 125e6 // octets per second

// exports makes the records of all flows, which together carry a Gbit/s.
func (c cutFlows) exports(seconds int64) []export {
	rng := rand.New(rand.NewPCG(uint64(c.flows), uint64(c.jitter)))
	var all []export
	for i := range c.flows {
		cut := origin + rng.Int64N(c.timeout)*ms - c.timeout*ms
		for k := int64(0); cut < origin+seconds*1e9; k++ {
			from := cut
			cut += c.timeout * ms
			at := cut
			if c.jitter > 0 {
				at += rng.Int64N(c.jitter) * ms
			}
			if !c.late && c.jitter > 0 {
				// Looks for flows to cut now and then: from the last cut on.
				cut = at
			}
			d := (cut - from) / ms
			bytes := uint64(gigabit * float64(d) / 1000 / float64(c.flows))
			all = append(all, export{at, flowRecord(uint32(i%c.hosts), c.six, uint16(i), bytes, uint32(d), uint8(c.timeout/1000))})
		}
	}
	slices.SortFunc(all, func(a, b export) int { return cmp.Compare(a.at, b.at) })
	return all
}

// TestSteadyFlows is N5: a steady Gbit/s reads a Gbit/s, whatever the active
// timeout, without a peak, for the host, its network and its hostgroup.
func TestSteadyFlows(t *testing.T) {
	for _, c := range []cutFlows{
		{flows: 1, timeout: 60000, hosts: 1},
		{flows: 1, timeout: 60000, hosts: 1, six: true},
		{flows: 1000, timeout: 60000, hosts: 1},
		{flows: 1000, timeout: 60000, hosts: 250},
		{flows: 7, timeout: 60000, hosts: 1, six: true},
		{flows: 1, timeout: 10000, hosts: 1},
		{flows: 1, timeout: 2000, hosts: 1},
		{flows: 1, timeout: 120000, hosts: 1},
		{flows: 1, timeout: 59990, hosts: 1},
		{flows: 1, timeout: 60000, jitter: 1000, hosts: 1},
		{flows: 1, timeout: 60000, jitter: 1000, late: true, hosts: 1},
		{flows: 1, timeout: 30000, jitter: 1000, late: true, hosts: 1},
		{flows: 3, timeout: 60000, jitter: 1000, hosts: 1},
		{flows: 1000, timeout: 60000, jitter: 1000, late: true, hosts: 1},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) { steady(t, c) })
	}
}

func steady(t *testing.T, c cutFlows) {
	p := newFlowPath(t, Limit{ID: 1, Unit: ByteRate, Value: 1.2 * gigabit, Rules: DefaultRules()})
	warm := c.timeout/1000 + 30
	seconds := warm + 60 + 8*c.timeout/1000
	all := c.exports(seconds)
	low, high, peak := math.Inf(1), 0.0, 0.0
	for p.now < origin+seconds*1e9 {
		for len(all) > 0 && all[0].at < (p.now/step+1)*step {
			p.table.Add([]traffic.Record{all[0].r}, max(all[0].at, p.now))
			all = all[1:]
		}
		p.step()
		for _, rate := range p.rates(c) {
			peak = max(peak, rate)
			if p.now > origin+warm*1e9 {
				low, high = min(low, rate), max(high, rate)
			}
		}
		if len(p.e.Crossings()) > 0 {
			t.Fatal("a limit of 1.2 Gbit/s was crossed")
		}
	}
	t.Logf("reads %.3f to %.3f Gbit/s, peak %.3f", low/gigabit, high/gigabit, peak/gigabit)
	if low < 0.95*gigabit || high > 1.05*gigabit || peak > 1.2*gigabit {
		t.Errorf("reads %.3f to %.3f Gbit/s, peak %.3f", low/gigabit, high/gigabit, peak/gigabit)
	}
	l := p.table.Ledger()
	if l.Counted != l.Received || l.Beyond != 0 {
		t.Errorf("%+v", l.Totals)
	}
}

// rates are the same Gbit/s seen from several sides.
func (p *flowPath) rates(c cutFlows) (rates []float64) {
	if c.hosts == 1 {
		if r, ok := p.e.Rates(hostPrefix(0, c.six), p.now); ok {
			rates = append(rates, r.Dir[0].Bytes[0], r.Dir[0].Bytes[1+ring.CounterUDP])
		}
	}
	for _, scopes := range [][]Scope{p.e.Networks(), p.e.Groups()} {
		for _, s := range scopes {
			rates = append(rates, s.Dir[0].Bytes[0])
		}
	}
	return rates
}

// TestLongAgo: what began a day ago, or has impossible times, raises nothing.
func TestLongAgo(t *testing.T) {
	for _, d := range []uint32{22 * 3600 * 1000, 1 << 31, math.MaxUint32} {
		mean := 1e12 / (float64(d) / 1000)
		p := newFlowPath(t, Limit{ID: 1, Unit: ByteRate, Value: 1.2 * mean, Rules: DefaultRules()})
		p.table.Add([]traffic.Record{flowRecord(0, false, 1, 1e12, d, 60)}, p.now)
		peak := 0.0
		for range 65 * 20 {
			p.step()
			if r, ok := p.e.Rates(hostPrefix(0, false), p.now); ok {
				peak = max(peak, r.Dir[0].Bytes[0])
			}
		}
		if peak < 0.9*mean || peak > 1.05*mean || len(p.e.Crossings()) > 0 {
			t.Errorf("%d ms: peak %.0f octets/s, the mean is %.0f", d, peak, mean)
		}
		if l := p.table.Ledger(); p.table.Smearing() || l.Packets != 1e9 || l.Beyond != 1e9-uint64(1e9*60000/float64(d)) {
			t.Errorf("%d ms: %+v", d, l.Totals)
		}
	}
}

// TestLedgerOfLongFlows: a long flow record is used when it has come, not when
// its last slice has, and what is in the table is on its way.
func TestLedgerOfLongFlows(t *testing.T) {
	p := newFlowPath(t)
	short := flowRecord(7, false, 9, 50000, 500, 60)
	inFlight := func(when string, want uint64) {
		t.Helper()
		l, _ := p.e.Ledger(p.id)
		if l.InFlight != want || l.Received != l.Used+l.Dropped+l.InFlight {
			t.Errorf("%s: %+v, want %d in flight", when, l, want)
		}
	}
	for range 50 {
		p.table.Add([]traffic.Record{flowRecord(1, false, 1, 1e9, 60000, 60), short, flowRecord(2, true, 2, 3e6, 5000, 60)}, p.now)
		p.step()
		inFlight("while slices are to come", 0)
	}
	p.free = 1 // room for a flush only: what was counted stays in the table
	p.table.Add([]traffic.Record{short, short}, p.now)
	p.step()
	inFlight("without room", 2)
	for range 20 {
		p.step()
	}
	inFlight("with slices that wait for room", 2)
	p.free = 1 << 20
	p.step()
	inFlight("with room again", 0)
	p.table.Flush(p, count.Window{End: p.now, Generation: 1, Finished: true})
	inFlight("at the end", 0)
	if l := p.table.Ledger(); l.Cut == 0 || l.Counted != 152 {
		t.Errorf("%+v", l.Totals)
	}
}

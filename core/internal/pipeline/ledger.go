package pipeline

import (
	"math"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// lostWithProcess is the cause of records that a process had received, but not
// handed on when it ended: those in rows of its table or in a flush that it did
// not finish, and those of the time since its last flush, of which it tells in
// the ring's header (a stream has none). Of packets and sampled packets the
// number is exact, except that one counted for both of its ends and not handed
// on may be counted twice. So may be a batch that came back
// from filters just before the end.
const lostWithProcess = "lost_with_process"

// account adds up what the rings of one capture said, over all its processes.
// The loop's goroutine owns it.
type account struct {
	received, used uint64
	dropped        map[string]uint64
}

// settle takes over the account of a ring that is gone.
func (c *capture) settle(in *input, l *engine.Ledger) {
	c.account.add(in, l)
	received, lost := l.Received, l.InFlight
	if s, ok := in.source.(interface{ Stats() ring.Stats }); ok {
		if since := s.Stats().Received; since > l.Received {
			c.account.received += since - l.Received
			lost += since - l.Received
			received = since
		}
	}
	if lost > 0 {
		c.account.dropped[lostWithProcess] += lost
		c.reportGap(in, l, received, lost)
	}
}

func (a *account) add(in *input, l *engine.Ledger) {
	a.received += l.Received
	a.used += l.Used
	if a.dropped == nil {
		a.dropped = map[string]uint64{}
	}
	named := uint64(0)
	for i, n := range l.DroppedBy {
		if n > 0 {
			a.dropped[count.CauseName(in.causes, uint8(i))] += n
			named += n
		}
	}
	if l.Dropped > named {
		a.dropped["unnamed"] += l.Dropped - named
	}
}

// ledger is the account of every capture, past and present rings together.
func (l *loop) ledger(captures []*capture) []sdk.LedgerRow {
	var out []sdk.LedgerRow
	for _, c := range captures {
		sum := account{received: c.account.received, used: c.account.used, dropped: map[string]uint64{}}
		for cause, n := range c.account.dropped {
			sum.dropped[cause] = n
		}
		inFlight := uint64(0)
		for _, in := range l.inputs {
			if of, ok := l.engine.Ledger(in.id); ok && in.capture == c {
				sum.add(in, &of)
				inFlight += of.InFlight
			}
		}
		out = append(out, sdk.LedgerRow{
			Input: c.title(), Received: sum.received, Used: sum.used, InFlight: inFlight, Dropped: sum.dropped,
		})
	}
	return out
}

// lossMeter tells which share of their records the inputs dropped lately.
type lossMeter struct {
	samples [10]struct{ received, dropped uint64 } // one a second
	next    int
	filled  bool
}

func (m *lossMeter) sample(rows []sdk.LedgerRow) {
	s := &m.samples[m.next]
	s.received, s.dropped = sumLedger(rows)
	m.next = (m.next + 1) % len(m.samples)
	m.filled = m.filled || m.next == 0
}

func sumLedger(rows []sdk.LedgerRow) (received, dropped uint64) {
	for _, row := range rows {
		received = addUp(received, row.Received)
		for _, n := range row.Dropped {
			dropped = addUp(dropped, n)
		}
	}
	return received, dropped
}

// addUp adds what plugins say, which may be absurd.
func addUp(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint64
}

// ratio is the share that was dropped since the oldest sample.
func (m *lossMeter) ratio(rows []sdk.LedgerRow) float64 {
	received, dropped := sumLedger(rows)
	if m.filled {
		received -= min(received, m.samples[m.next].received)
		dropped -= min(dropped, m.samples[m.next].dropped)
	}
	if received == 0 {
		return 0
	}
	return min(1, float64(dropped)/float64(received))
}

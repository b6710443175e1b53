package pipeline

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
)

// reportGap tells, once for each ring that is given up, what its process had
// received and did not hand on, and of which time.
func (c *capture) reportGap(in *input, l *engine.Ledger, received, lost uint64) {
	if c.replay {
		return // a replay that lost something fails and says so itself
	}
	fields := []any{
		"capture", c.block.Instance, "plugin", c.block.Name, "worker", in.worker, "generation", c.generation,
		"lost", lost, "received", received, "used", l.Used, "flushes", l.Flush,
	}
	if now := c.sys.loop.now; now != nil && l.WindowEnd > 0 {
		fields = append(fields, "since_last_flush", time.Duration(max(0, now()-l.WindowEnd)).Round(time.Millisecond))
	}
	c.sys.log.Warn("records are lost with a capture's ring", fields...)
}

// settleRecords takes over the account of record rings that are gone: what lies
// in them was received, and no filter or counting capture will ever see it. The
// cursors are the word of other processes: what cannot be is not believed. A
// batch that the capture had counted just before it was killed may be among
// them.
func (c *capture) settleRecords(records []*wired) {
	lost := uint64(0)
	for _, r := range records {
		s := r.Stats()
		if n := s.Head - s.Judged; s.Head >= s.Judged && n <= recordCapacity {
			lost += n
		}
	}
	if lost == 0 {
		return
	}
	c.sys.loop.do(func() {
		c.account.received += lost
		if c.account.dropped == nil {
			c.account.dropped = map[string]uint64{}
		}
		c.account.dropped[lostWithProcess] += lost
	})
	c.sys.log.Warn("records that waited for filters are lost with their capture",
		"capture", c.block.Instance, "plugin", c.block.Name, "generation", c.generation, "lost", lost)
}

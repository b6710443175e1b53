package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

const (
	batchRecords = 512
	tickEvery    = time.Second // for what waits for templates
	sweepEvery   = 10 * time.Second
)

// stats is what one worker has done, for people to look at.
type stats struct {
	datagrams atomic.Uint64
	records   atomic.Uint64
	lost      [causes]atomic.Uint64
}

// worker carries the datagrams of one socket to its Writer.
type worker struct {
	conn    *udp.Conn
	w       *sdk.Writer
	d       *decoder
	out     output
	forward *udp.Forwarder
	stats   *stats
	clock   *exporter.Clock

	tick, sweep int64 // when it last looked at what waits, and at exporters that are gone
}

// Run receives on one socket until ctx is done.
func (c *capture) Run(ctx context.Context, w *sdk.Writer) error {
	if c.replays() {
		return c.runFiles(ctx, w)
	}
	conn := c.conns[w.Worker()]
	if conn == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	x := &worker{conn: conn, w: w, forward: c.forward, stats: &c.stats[w.Worker()], clock: c.clock}
	x.out.hand = x.hand
	w.FrameInfo(x.out.frameInfo)
	x.d = newDecoder(&x.out, c.store, c.set.View(), newHold(&c.held))
	_, _ = x.d.parser.DecapsulateBy(c.cfg.Decapsulate) // Validate complains
	err := x.run(ctx)
	x.d.abandon()
	x.settle()
	return err
}

// run goes on until ctx is done or the socket fails. While nothing comes it
// wakes up for what waits for templates.
func (x *worker) run(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, tickEvery)
		err := x.receive(wait)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, context.DeadlineExceeded) && err != nil {
			return err
		}
		now, _ := x.clock.Read()
		x.housekeep(now)
	}
}

// housekeep does what is due now and then.
func (x *worker) housekeep(now int64) {
	if now-x.tick >= int64(tickEvery) {
		x.tick = now
		x.out.next()
		x.d.tick(now)
		x.commit()
	}
	if now-x.sweep >= int64(sweepEvery) {
		x.sweep = now
		x.d.sweep()
	}
}

// receive decodes batches until ctx is done or a tick is due.
func (x *worker) receive(ctx context.Context) error {
	now, _ := x.clock.Read()
	for due := now + int64(tickEvery); now < due; {
		batch, err := x.conn.Receive(ctx)
		if err != nil {
			return err
		}
		var wall int64
		now, wall = x.clock.Read()
		x.decode(batch, now, wall)
	}
	return nil
}

// decode turns a batch of datagrams into records.
func (x *worker) decode(batch []udp.Datagram, now, wall int64) {
	x.out.next()
	for i := range batch {
		g := &batch[i]
		if g.Truncated {
			x.d.lost[lostCutDatagram]++
		}
		if e := x.d.datagram(g.Data, g.From, now, wall); e != nil && x.forward != nil {
			g.Exporter = e.Block()
		}
	}
	x.forward.Forward(batch)
	x.stats.datagrams.Add(uint64(len(batch)))
	x.commit()
}

// hand commits records and reserves more.
func (x *worker) hand(n int) []traffic.Record {
	if n > 0 {
		x.w.Commit(n, x.out.frame)
		x.stats.records.Add(uint64(n))
	}
	return x.w.Reserve(batchRecords)
}

// commit hands over what is left of a batch.
func (x *worker) commit() {
	x.w.Commit(x.out.n, x.out.frame)
	x.stats.records.Add(uint64(x.out.n))
	x.out.n, x.out.records, x.out.framed = 0, nil, x.out.framed[:0]
	x.settle()
}

// settle reports to the ledger what was lost.
func (x *worker) settle() {
	if n := x.overflow(); n > 0 {
		x.d.lost[lostSocket] += n * x.perDatagram()
	}
	for c, n := range x.d.lost {
		if n > 0 {
			x.w.Dropped(c, n)
			x.stats.lost[c].Add(n)
			x.d.lost[c] = 0
		}
	}
}

// overflow is how many datagrams more the kernel has dropped; of files none.
func (x *worker) overflow() uint64 {
	if x.conn == nil {
		return 0
	}
	return x.conn.Overflow()
}

// perDatagram is how many records a datagram has had on average: so many are
// taken to have been in one that the kernel dropped.
func (x *worker) perDatagram() uint64 {
	n := x.stats.datagrams.Load()
	if n == 0 {
		return 1
	}
	return max(1, (x.stats.records.Load()+n/2)/n)
}

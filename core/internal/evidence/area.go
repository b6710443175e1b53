package evidence

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Area is where an attack's packets are looked for.
type Area struct {
	Prefixes []netip.Prefix
	Mine     func(netip.Addr) bool // false for addresses in them that the attack is not on; nil: all are its
}

// Takes tells whether a packet is one of the attack.
func (a *Area) Takes(s *sdk.Sample, direction string) bool {
	if a.Mine == nil {
		return true
	}
	r, ok := s.Packet()
	switch {
	case !ok:
		return false
	case direction == "outgoing":
		return a.Mine(r.SrcAddr())
	}
	return a.Mine(r.DstAddr())
}

// askAgain is between two requests for samples of the same prefix.
const askAgain = 200 * time.Millisecond

// sample takes one capture's samples of a prefix of the attack. Of one prefix
// among several a share is asked for at a time, and again, so that all of them
// are seen; likewise where much of what comes is not the attack's.
func (x *collection) sample(ctx context.Context, s Source, e *sdk.Event, area *Area, p netip.Prefix) {
	began := time.Now()
	req := sdk.SampleRequest{Target: p, Direction: e.Direction, Limit: x.c.opt.Packets, For: SampleTime}
	if n := len(area.Prefixes); n > 1 {
		req.Limit = min(req.Limit, max((req.Limit+n-1)/n, leastShare))
	}
	whole := req.Limit == x.c.opt.Packets && area.Mine == nil
	for again := false; ; again = true {
		n, stopped := 0, false // by us: it has not failed
		err := s.Sample(ctx, req, func(got sdk.Sample) error {
			n++
			if again && got.Before || !area.Takes(&got, e.Direction) {
				return nil
			}
			err := x.add(got)
			stopped = err != nil
			return err
		})
		if err != nil && ctx.Err() == nil && !stopped {
			x.c.warn("a capture gives no samples of an attack", s.Name, err)
			x.problem(fmt.Sprintf("capture %s: %v", s.Name, err))
		}
		if req.For = SampleTime - time.Since(began); err != nil || whole || n == 0 || req.For < askAgain {
			return
		}
		req.Limit = min(2*req.Limit, x.c.opt.Packets) // a busy prefix is to give all in the end
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return
		}
	}
}

// leastShare is how many samples of one prefix among several are asked for at
// least.
const leastShare = 8

// Cost is what a sample counts as: FlowsPerPacket, or 1 for a flow record.
func Cost(s *sdk.Sample) int {
	if r, ok := s.Packet(); ok && r.Marks&traffic.MarkFlow != 0 {
		return 1
	}
	return FlowsPerPacket
}

// add takes a sample in, unless there are enough.
func (x *collection) add(got sdk.Sample) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.enough {
		return context.Canceled
	}
	x.samples = append(x.samples, got)
	x.taken += Cost(&got)
	if x.taken > FlowsPerPacket*(x.c.opt.Packets-1) {
		x.enough = true
		close(x.full)
	}
	return nil
}

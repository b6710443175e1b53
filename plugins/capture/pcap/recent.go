package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// What is kept of the frames played last, for who asks for the seconds before
// an attack was seen.
const (
	recentBytes  = 4 << 20
	recentFrames = 1 << 14
	recentTime   = int64(5 * time.Second)
	recentShare  = 5 // of what is asked for
)

// entry is a frame in the arena.
type entry struct {
	from, to int    // in the arena
	end      uint64 // of all octets ever written, behind it: tells whether it is still there
	time     int64  // of the record made from it
	link     traffic.LinkType
	wire     int
}

// recent is an arena that is written round and round, and what lies in it. The
// frames of the present batch are always there.
type recent struct {
	mu      sync.Mutex
	arena   []byte
	at      int    // where the next frame goes
	written uint64 // octets, with those left free at the arena's end
	entries []entry
	next    uint64 // number of the next entry
}

func newRecent(octets, frames int) *recent {
	return &recent{arena: make([]byte, octets), entries: make([]entry, frames)}
}

// restart forgets everything: the arena is used from its beginning again.
func (k *recent) restart() { k.at, k.next = 0, 0 }

// add copies a frame.
func (k *recent) add(p *capfile.Packet, stamp int64) {
	if k.at+len(p.Data) > len(k.arena) {
		k.written += uint64(len(k.arena) - k.at)
		k.at = 0
	}
	n := copy(k.arena[k.at:], p.Data)
	k.written += uint64(n)
	k.entries[k.next%uint64(len(k.entries))] = entry{k.at, k.at + n, k.written, stamp, p.Link, p.Wire}
	k.at += n
	k.next++
}

// entry is frame i of those added since the entry numbered first.
func (k *recent) entry(first uint64, i int) *entry {
	return &k.entries[(first+uint64(i))%uint64(len(k.entries))]
}

func (k *recent) data(e *entry) []byte { return k.arena[e.from:e.to:e.to] }

// Sample gives the target's packets among those played last: a fifth of what is
// asked for at most, since the attack itself is yet to come.
func (c *capture) Sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	if c.live != nil {
		return c.live.sample(ctx, req, give)
	}
	return c.sampleRecent(ctx, req, give)
}

func (c *capture) sampleRecent(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	k := c.recent
	if k == nil {
		return nil
	}
	parser := c.cfg.parser()
	for _, s := range k.find(ctx, req, &parser) {
		if err := give(s); err != nil {
			return err
		}
	}
	return nil
}

// find copies packets of a target, the oldest first.
func (k *recent) find(ctx context.Context, req sdk.SampleRequest, parser *traffic.Parser) (out []sdk.Sample) {
	k.mu.Lock()
	defer k.mu.Unlock()
	newest := int64(0)
	for n := k.next; n > 0 && k.next-n < uint64(len(k.entries)) && len(out) < req.Limit/recentShare && ctx.Err() == nil; n-- {
		e := k.entry(n-1, 0)
		if newest = max(newest, e.time); e.end+uint64(len(k.arena)) < k.written+uint64(e.to-e.from) || newest-e.time > recentTime {
			break
		}
		var r traffic.Record
		if parser.Frame(&r, e.link, k.data(e), e.wire) != traffic.OK {
			continue
		}
		in, from := req.Target.Contains(r.DstAddr()), req.Target.Contains(r.SrcAddr())
		if wanted := in && req.Direction != "outgoing" || from && req.Direction != "incoming"; !wanted {
			continue
		}
		r.Time = e.time
		data := k.data(e)
		out = append(out, sdk.Sample{
			Time: time.Unix(0, e.time), Link: int(e.link), Data: slices.Clone(data[:min(len(data), sdk.MaxFrame)]), WireLen: e.wire,
			Record: slices.Clone(traffic.Bytes([]traffic.Record{r})),
		})
	}
	slices.Reverse(out)
	return out
}

package main

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	batchRecords = 1024
	batchPackets = 4096      // with those that do not count
	batchBytes   = 256 << 10 // of frames kept for whoever watches
	// pace is the shortest pause: packets less than that apart go together.
	pace = 500 * time.Microsecond
	// longPause is a gap that people are told of.
	longPause = time.Minute
)

// player turns the merged packets into records.
type player struct {
	w      *sdk.Writer
	log    hclog.Logger
	in     *capfile.Merger
	parser traffic.Parser

	recent *recent
	live   bool   // frames of earlier batches stay, as long as there is room
	first  uint64 // of the batch, in recent
	more   [traffic.MaxTunnels]traffic.Record
	left   []traffic.Record // of more, for which the batch had no room
	frame  func(i int) []byte
	lost   [causes]uint64 // of the batch
	total  struct{ packets, counted uint64 }
}

func (c *capture) newPlayer(w *sdk.Writer) *player {
	p := &player{
		w: w, log: c.log, recent: c.recent, live: c.recent != nil,
		parser: c.cfg.parser(),
	}
	if !p.live {
		p.recent = newRecent(batchBytes, batchRecords)
	}
	p.frame = func(i int) []byte { return p.recent.data(p.recent.entry(p.first, i)) }
	w.FrameInfo(func(i int) (link, wire int) {
		e := p.recent.entry(p.first, i)
		return int(e.link), e.wire
	})
	p.in = capfile.NewMerger(c.files, p.failed)
	return p
}

// failed reports a file that ended too early. Its packets so far count.
func (p *player) failed(err error) {
	cause := causeDamaged
	if d := (*capfile.Damage)(nil); errors.As(err, &d) && d.Cut {
		cause = causeCut
	}
	p.lost[cause]++
	p.log.Warn("a capture file ends early; the packets before that count", "error", err)
}

// replay gives everything as fast as it is taken, with the packets' own time.
func (p *player) replay(ctx context.Context) error {
	for p.in.Peek() != nil || len(p.left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.batch(math.MaxInt64, 0)
	}
	return p.finish()
}

// play gives each packet when its time has come, speed times as fast as they
// were recorded, with the time at which it is played. What is late is given
// at once.
func (p *player) play(ctx context.Context, speed float64) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	var first int64
	if next := p.in.Peek(); next != nil {
		first = next.Time
	}
	for next := p.in.Peek(); next != nil; next = p.in.Peek() {
		elapsed := time.Since(start)
		due := first + int64(min(float64(elapsed)*speed, float64(capfile.Latest)))
		if next.Time <= due {
			p.batch(due, start.UnixNano()+int64(elapsed))
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		pause := time.Duration(min(float64(next.Time-due)/speed, float64(capfile.Latest)))
		if pause > longPause {
			p.log.Warn("the captures have a gap, during which nothing is played", "pause", pause.Round(time.Second).String())
		}
		timer.Reset(max(pause, pace))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.finish()
}

// finish settles the ledger at the end of the files.
func (p *player) finish() error {
	p.settle()
	p.log.Info("the captures are finished", "packets", p.total.packets, "counted", p.total.counted)
	return nil
}

// batch gives packets up to the time until, as many as fit. stamp is their
// time; 0 leaves them their own.
func (p *player) batch(until, stamp int64) {
	records := p.w.Reserve(batchRecords)
	n := p.fill(records, until, stamp)
	p.w.Commit(n, p.frame)
	p.total.counted += uint64(n)
	p.settle()
}

// fill makes records of packets and returns how many.
func (p *player) fill(records []traffic.Record, until, stamp int64) (n int) {
	p.recent.mu.Lock()
	defer p.recent.mu.Unlock()
	if !p.live {
		p.recent.restart()
	}
	p.first = p.recent.next
	octets := 0
	for ; n < len(records) && len(p.left) > 0; n++ {
		records[n], p.left = p.left[0], p.left[1:]
		p.recent.add(&capfile.Packet{}, records[n].Time)
	}
	for taken := 0; n < len(records) && taken < batchPackets; taken++ {
		next := p.in.Peek()
		if next == nil || next.Time > until || octets+len(next.Data) > batchBytes {
			break
		}
		r := &records[n]
		if p.parse(r, next) {
			if r.Time = stamp; stamp == 0 {
				r.Time = next.Time
			}
			p.recent.add(next, r.Time)
			octets += len(next.Data)
			n++
			if p.parser.Several() {
				n += p.inside(records[n-1:], next)
			}
		}
		p.in.Take()
		p.total.packets++
	}
	return n
}

// inside adds the packets inside a packet that count besides the one of its
// record, which is the first; what there is no room for waits for the next
// batch, and has no frame then.
func (p *player) inside(records []traffic.Record, next *capfile.Packet) (n int) {
	found := p.more[:p.parser.More(p.more[:], next.Link, next.Data, next.Wire)]
	for i := range found {
		found[i].Carried(&records[0])
	}
	n = copy(records[1:], found)
	for range n {
		p.recent.add(next, records[0].Time)
	}
	p.left = found[n:]
	return n
}

// parse fills in r from a packet, or counts why it does not count.
func (p *player) parse(r *traffic.Record, next *capfile.Packet) bool {
	if next.Link == capfile.LinkUnknown {
		p.lost[causeInterface]++
		return false
	}
	o := p.parser.Frame(r, next.Link, next.Data, next.Wire)
	if o != traffic.OK {
		p.lost[o-1]++
		return false
	}
	return true
}

// settle reports what the batch has lost.
func (p *player) settle() {
	for cause, n := range p.lost {
		if n > 0 {
			p.w.Dropped(cause, n)
			p.lost[cause] = 0
		}
	}
}

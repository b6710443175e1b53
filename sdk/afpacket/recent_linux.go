package afpacket

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	recentTime  = 5 * time.Second
	recentShare = 5 // of what is asked for
)

// Sample gives the target's packets among those that still lie in the rings: a
// fifth of what is asked for at most, since the attack itself is yet to come.
//
// A block that was handed back keeps its frames until the kernel writes into
// it anew, which may be while it is read here: its number tells, and what was
// read is then thrown away.
func (c *Capture) Sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	limit := req.Limit / recentShare
	var found []sdk.Sample
	for _, k := range c.workers {
		found = append(found, k.find(ctx, &req, limit)...)
	}
	slices.SortStableFunc(found, func(a, b sdk.Sample) int { return a.Time.Compare(b.Time) })
	for _, s := range found[max(0, len(found)-limit):] {
		if err := give(s); err != nil {
			return err
		}
	}
	return nil
}

// find looks for packets of a target, in the newest blocks first.
func (k *worker) find(ctx context.Context, req *sdk.SampleRequest, limit int) (found []sdk.Sample) {
	k.life.RLock()
	defer k.life.RUnlock()
	s := k.s
	if s == nil {
		return nil
	}
	oldest := time.Now().Add(-recentTime).Unix()
	last := ^uint64(0)
	for n := k.released.Load(); n > 0 && len(found) < limit && ctx.Err() == nil; n-- {
		at := int((n - 1) % uint64(s.count))
		sequence := s.sequence(at)
		b := s.block(at)
		if sequence == 0 || sequence >= last || int64(binary.NativeEndian.Uint32(b[blockLastTS:])) < oldest {
			break
		}
		last = sequence
		inBlock := k.findIn(b, req)
		if s.sequence(at) != sequence {
			break // and so are all that are older
		}
		found = append(found, inBlock[max(0, len(inBlock)-(limit-len(found))):]...)
	}
	return found
}

// findIn looks for packets of a target in a block, which may change meanwhile.
func (k *worker) findIn(b []byte, req *sdk.SampleRequest) (found []sdk.Sample) {
	ne := binary.NativeEndian
	frames, off := int(ne.Uint32(b[blockCount:])), int(ne.Uint32(b[blockFirst:]))
	for ; frames > 0 && off >= 0 && off <= blockSize-frameHeader; frames-- {
		h := (*[frameHeader]byte)(b[off:])
		from, size, wire := off+int(ne.Uint16(h[frameMAC:])), int(ne.Uint32(h[frameSnap:])), int(ne.Uint32(h[frameWire:]))
		at := int64(ne.Uint32(h[frameSec:]))*1e9 + int64(ne.Uint32(h[frameNsec:]))
		next := int(ne.Uint32(h[frameNext:]))
		if next <= 0 {
			frames = 1 // the last, or nothing that makes sense
		}
		off += next
		if size < 0 || size > blockSize || from+size > len(b) {
			continue
		}
		var r traffic.Record
		frame := b[from : from+size : from+size]
		if k.parser.Frame(&r, k.s.link, frame, wire) != traffic.OK || k.o.Expression != nil && !k.wanted(&r, frame, wire, &superFrame{}) {
			continue
		}
		in, out := req.Target.Contains(r.DstAddr()), req.Target.Contains(r.SrcAddr())
		if wanted := in && req.Direction != "outgoing" || out && req.Direction != "incoming"; !wanted {
			continue
		}
		r.Packets, r.Bytes, r.Sampling, r.Time = r.Packets*uint64(k.rate), r.Bytes*uint64(k.rate), k.rate, at
		found = append(found, sdk.Sample{
			Time: time.Unix(0, at), Link: int(k.s.link), Data: slices.Clone(b[from : from+min(size, sdk.MaxFrame)]), WireLen: wire,
			Record: slices.Clone(traffic.Bytes([]traffic.Record{r})),
		})
	}
	return found
}

package afpacket

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	batchRecords = 512
	idleWait     = 100 * time.Millisecond // and then looks whether it is to end
	statsEvery   = 50 * time.Millisecond
	reopenEvery  = 250 * time.Millisecond
	maxBlocks    = 8 // held back for a batch
)

// writer is what a worker needs of sdk.Writer.
type writer interface {
	Reserve(n int) []traffic.Record
	Commit(n int, frame func(i int) []byte)
	Dropped(cause int, n uint64)
}

// tally is what a worker has done, for people to look at.
type tally struct {
	packets, drops, supers, segments, skipped atomic.Uint64
	every                                     atomic.Uint32 // it takes one frame in so many now
	overload                                  atomic.Int64  // when it took less than all last, Unix nanoseconds
	ring                                      atomic.Int64  // octets
}

// worker takes frames from one ring.
type worker struct {
	o      *Options
	name   string
	port   *port
	w      writer
	parser traffic.Parser
	tally  *tally

	life     sync.RWMutex // held for writing while the socket changes
	s        *socket
	released atomic.Uint64 // blocks handed back since the socket was opened

	taken   uint64 // blocks taken since the socket was opened
	records []traffic.Record
	n       int
	slots   [batchRecords]slot
	frame   func(i int) []byte
	more    [traffic.MaxTunnels]traffic.Record
	lost    [causes]uint64
	counted uint64 // frames that the ring has given, since the statistics were last settled
	rng     uint64
	every   uint32                        // it takes one frame in so many
	rate    uint32                        // and each of those in the ring stands for so many
	senders *atomic.Pointer[ownAddresses] // of whom what is sent counts; nil: of all
	own     *ownAddresses                 // of the batch
	asked   time.Time                     // the kernel's statistics
}

// slot is where the frame behind a record lies in the ring.
type slot struct{ from, size, wire int }

func newWorker(o *Options, name string, p *port, senders *atomic.Pointer[ownAddresses]) *worker {
	k := &worker{o: o, name: name, port: p, parser: o.Parser, tally: &tally{}, rng: rand.Uint64() | 1, every: 1, rate: o.Sampling * o.Mirrored, senders: senders}
	k.frame = func(i int) []byte {
		f := &k.slots[i]
		return k.s.mem[f.from : f.from+f.size : f.from+f.size]
	}
	return k
}

// frameInfo tells of the frame behind record i.
func (k *worker) frameInfo(i int) (link, wire int) { return int(k.s.link), k.slots[i].wire }

// run takes frames until ctx is done, and waits for the interface while it is
// not there.
func (k *worker) run(ctx context.Context, w writer, cpus []int) {
	runtime.LockOSThread()
	if len(cpus) == 0 {
		defer runtime.UnlockOSThread()
	} else { // locked it ends with the goroutine, and nothing else runs on what is tied to processors
		pin(cpus)
	}
	k.w = w
	defer k.close()
	for ctx.Err() == nil {
		if k.s == nil {
			if err := k.open(); err != nil {
				k.port.trouble(err)
				sleep(ctx, reopenEvery)
				continue
			}
			k.port.well(1)
		}
		if k.round() {
			continue
		}
		if k.s.wait(idleWait) && !k.mend() {
			sleep(ctx, reopenEvery)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (k *worker) open() error {
	s, err := open(k.o, k.name, &k.port.team)
	if err != nil {
		return err
	}
	k.life.Lock()
	defer k.life.Unlock()
	k.s, k.taken, k.counted = s, 0, 0
	k.released.Store(0)
	k.tally.ring.Store(int64(len(s.mem)))
	return nil
}

// close counts what the ring still holds and gives it back. It ends however much
// comes: from now on the kernel leaves frames out, and where it refuses to, the
// ring is gone through once.
func (k *worker) close() {
	if k.s == nil {
		return
	}
	_ = k.s.filter(dropAll)
	for end := k.taken + uint64(k.s.count); k.taken < end && k.round(); {
	}
	k.statistics()
	if left := k.s.seen.packets - k.s.seen.drops - k.counted; k.s.seen.packets > k.s.seen.drops+k.counted {
		k.w.Dropped(causeClosed, left)
	}
	k.life.Lock()
	defer k.life.Unlock()
	k.port.well(-1)
	k.port.team.leave(k.o)
	k.s.close()
	k.s = nil
}

// mend looks at what poll(2) has complained of, and closes a socket whose
// interface went down or away. false: there is none now.
func (k *worker) mend() bool {
	err := k.s.failure()
	if err == nil {
		return true
	}
	if errors.Is(err, unix.ENETDOWN) {
		err = &errGone{"the interface " + k.name + " went down or away"}
	}
	k.port.trouble(err)
	time.Sleep(2 * k.o.Delay) // the kernel hands over the block that it was writing
	k.close()
	return false
}

// round takes the blocks that are there, a batch's worth at most; false: there
// was none.
func (k *worker) round() bool {
	s := k.s
	at := int(k.taken % uint64(s.count))
	if !s.ours(at) {
		k.settleIfDue()
		return false
	}
	if k.senders != nil {
		k.own = k.senders.Load()
	}
	k.reserve()
	for blocks := 0; blocks < min(maxBlocks, s.count) && s.ours(at); blocks++ {
		k.adapt(at)
		k.block(at)
		k.taken++
		at = int(k.taken % uint64(s.count))
		if k.n >= batchRecords/2 {
			break
		}
	}
	k.commit()
	for n := k.released.Load(); n < k.taken; n++ {
		s.release(int(n % uint64(s.count)))
		k.released.Store(n + 1)
	}
	k.settleIfDue()
	return true
}

// settleIfDue asks for the kernel's drops now and then.
func (k *worker) settleIfDue() {
	if now := time.Now(); now.Sub(k.asked) >= statsEvery {
		k.asked = now
		k.statistics()
	}
}

// statistics puts the kernel's drops into the ledger.
func (k *worker) statistics() {
	fresh := k.s.statistics()
	if fresh.drops > 0 {
		k.tally.drops.Add(fresh.drops)
		k.tally.overload.Store(time.Now().UnixNano())
		k.w.Dropped(causeKernel, fresh.drops)
	}
}

func (k *worker) reserve() {
	k.records, k.n = k.w.Reserve(batchRecords), 0
}

// commit hands over the batch and what was lost in it.
func (k *worker) commit() {
	k.w.Commit(k.n, k.frame)
	for cause, n := range k.lost {
		if n > 0 {
			k.w.Dropped(cause, n)
			k.lost[cause] = 0
		}
	}
	k.n = 0
}

// adapt decides how many frames of a block are taken: all, unless the ring has
// filled up behind it.
func (k *worker) adapt(at int) {
	if !k.o.SampleOverload {
		return
	}
	full := func(eighths int) bool { return k.s.ours((at + k.s.count*eighths/8) % k.s.count) }
	switch {
	case full(7):
		k.every = 64
	case full(6):
		k.every = 16
	case full(4):
		k.every = 4
	case !full(2):
		k.every = 1
	}
	k.tally.every.Store(k.every)
	if k.every > 1 {
		k.tally.overload.Store(time.Now().UnixNano())
	}
}

// block makes records of a block's frames.
func (k *worker) block(at int) {
	b, base := k.s.block(at), at*blockSize
	ne := binary.NativeEndian
	frames, off := int(ne.Uint32(b[blockCount:])), int(ne.Uint32(b[blockFirst:]))
	taken, skipped := 0, uint64(0)
	for ; taken < frames && off >= 0 && off <= blockSize-frameHeader; taken++ {
		h := b[off:]
		next := off + int(ne.Uint32(h[frameNext:]))
		if k.every > 1 && k.skip() {
			skipped++
		} else {
			k.one(b, h, off, base)
		}
		off = next
	}
	k.counted += uint64(frames)
	k.tally.packets.Add(uint64(taken))
	if skipped > 0 {
		k.tally.skipped.Add(skipped)
	}
}

// skip draws whether a frame is left out (xorshift64).
func (k *worker) skip() bool {
	x := k.rng
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	k.rng = x
	return uint32(x>>32)&(k.every-1) != 0
}

// one makes the record of a frame whose header h lies at off in the block b,
// which lies at base in the ring.
func (k *worker) one(b, h []byte, off, base int) {
	ne := binary.NativeEndian
	head := (*[frameHeader]byte)(h)
	from, size, wire := off+int(ne.Uint16(head[frameMAC:])), int(ne.Uint32(head[frameSnap:])), int(ne.Uint32(head[frameWire:]))
	if from < off+vnetHeader || uint(from+size) > uint(len(b)) {
		return // the kernel writes no such header
	}
	v := (*[vnetHeader]byte)(b[from-vnetHeader:])
	var super superFrame
	if v[1] != 0 {
		super = readSuperFrame(v, b[from:from+size])
	}
	if ne.Uint32(head[frameStatus:])&tagValid != 0 && from >= tagSize+off+frameHeader && size >= 12 {
		restoreTag(b, head, from)
		from, size, wire = from-tagSize, size+tagSize, wire+tagSize
		super.header += tagSize
	}
	if k.n == len(k.records) {
		k.commit()
		k.reserve()
	}
	r := &k.records[k.n]
	frame := b[from : from+size : from+size]
	var o traffic.Outcome
	if k.s.link == traffic.LinkEthernet {
		o = k.parser.Ethernet(r, frame, wire)
	} else {
		o = k.parser.Frame(r, k.s.link, frame, wire)
	}
	if o != traffic.OK {
		k.lost[o-1]++
		return
	}
	if k.own != nil && head[frameType] == outgoing && !k.own.has(&r.Src) {
		return // it was counted when it came in
	}
	if super.size != 0 {
		k.segments(r, &super, wire)
	}
	if k.o.Expression != nil && !k.wanted(r, frame, wire, &super) {
		return
	}
	if rate := k.rate * k.every; rate > 1 {
		r.Packets *= uint64(rate)
		r.Bytes *= uint64(rate)
		r.Sampling = rate
	}
	r.Time = int64(ne.Uint32(head[frameSec:]))*1e9 + int64(ne.Uint32(head[frameNsec:]))
	k.slots[k.n] = slot{base + from, size, wire}
	k.n++
	if k.parser.Several() {
		k.inside(r, frame, k.slots[k.n-1], &super)
	}
}

// wanted reports whether the expression holds for a frame: for the packet
// outside all tunnels, of which r may be another.
func (k *worker) wanted(r *traffic.Record, frame []byte, wire int, super *superFrame) bool {
	if !k.parser.Decapsulates() {
		return k.o.Expression.Match(r)
	}
	outer := traffic.Parser{LengthFromFrame: k.parser.LengthFromFrame}
	var carrier traffic.Record
	if outer.Frame(&carrier, k.s.link, frame, wire) != traffic.OK {
		return false
	}
	if super.size != 0 {
		super.apply(&carrier, wire, outer.LengthFromFrame)
	}
	return k.o.Expression.Match(&carrier)
}

// inside adds the packets inside a frame that count besides the one of its
// record.
func (k *worker) inside(r *traffic.Record, frame []byte, at slot, super *superFrame) {
	outer := *r
	n := k.parser.More(k.more[:], k.s.link, frame, at.wire)
	for i := range k.more[:n] {
		in := &k.more[i]
		if super.size != 0 {
			super.apply(in, at.wire, k.parser.LengthFromFrame)
		}
		rate := uint64(max(outer.Sampling, 1))
		in.Packets, in.Bytes, in.Sampling, in.Time = in.Packets*rate, in.Bytes*rate, outer.Sampling, outer.Time
		if k.n == len(k.records) {
			k.commit()
			k.reserve()
		}
		k.records[k.n], k.slots[k.n] = *in, at
		k.n++
	}
}

func (k *worker) segments(r *traffic.Record, super *superFrame, wire int) {
	super.apply(r, wire, k.parser.LengthFromFrame)
	k.tally.supers.Add(1)
	k.tally.segments.Add(r.Packets)
}

// restoreTag puts the VLAN tag, which the kernel keeps beside a frame, back
// behind the addresses: into the octets before the frame, which are free.
func restoreTag(b []byte, head *[frameHeader]byte, from int) {
	ne := binary.NativeEndian
	copy(b[from-tagSize:], b[from:from+12])
	status, tpid := ne.Uint32(head[frameStatus:]), uint16(0x8100)
	if status&tpidValid != 0 {
		tpid = ne.Uint16(head[frameTPID:])
	}
	binary.BigEndian.PutUint16(b[from+8:], tpid)
	binary.BigEndian.PutUint16(b[from+10:], uint16(ne.Uint32(head[frameTCI:])))
	// Whoever looks at the ring later finds the frame with its tag.
	ne.PutUint16(head[frameMAC:], ne.Uint16(head[frameMAC:])-tagSize)
	ne.PutUint32(head[frameSnap:], ne.Uint32(head[frameSnap:])+tagSize)
	ne.PutUint32(head[frameWire:], ne.Uint32(head[frameWire:])+tagSize)
	ne.PutUint32(head[frameStatus:], status&^tagValid)
}

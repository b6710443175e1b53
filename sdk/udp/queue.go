package udp

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// entryHeader is what precedes a datagram's octets in a queue: its length
// (4 octets), source port (2), family (1), one unused, source address (16).
const entryHeader = 24

// queue holds datagrams for one target in a ring of octets: as many as fit,
// whatever their size. Several goroutines put, one takes.
type queue struct {
	mu         sync.Mutex
	wake       sync.Cond
	ring       []byte
	head, tail uint64 // octets put and released, ever; entries never wrap around the ring's end
	read       uint64 // octets taken
	entries    []entry
	closed     bool
}

// entry is a datagram in a queue; data lies in the ring until released.
type entry struct {
	from netip.AddrPort
	data []byte
	end  uint64
}

func newQueue(octets int) *queue {
	q := &queue{ring: make([]byte, octets&^7)}
	q.wake.L = &q.mu
	return q
}

// put copies datagrams into the ring and returns how many fitted.
func (q *queue) put(batch []Datagram) (n int) {
	q.mu.Lock()
	idle := q.head == q.read
	for n = 0; n < len(batch) && q.putOne(&batch[n]); n++ {
	}
	q.mu.Unlock()
	if idle && n > 0 {
		q.wake.Signal()
	}
	return n
}

func (q *queue) putOne(d *Datagram) bool {
	size := uint64(len(q.ring))
	need := uint64(entryHeader+len(d.Data)+7) &^ 7
	at := q.head % size
	skip := uint64(0)
	if at+need > size { // begin again at the ring's start
		skip = size - at
	}
	if q.closed || q.head+skip+need-q.tail > size {
		return false
	}
	if skip > 0 {
		binary.LittleEndian.PutUint32(q.ring[at:], ^uint32(0)) // room for it: all is a multiple of 8
		q.head += skip
		at = 0
	}
	e := q.ring[at : at+need]
	binary.LittleEndian.PutUint32(e, uint32(len(d.Data)))
	binary.LittleEndian.PutUint16(e[4:], d.From.Port())
	e[6] = 6
	if d.From.Addr().Is4() {
		e[6] = 4
	}
	a := d.From.Addr().As16()
	copy(e[8:], a[:])
	copy(e[entryHeader:], d.Data)
	q.head += need
	return true
}

// take waits for datagrams and returns up to n of them, which stay in the ring
// until released; nil when the queue is closed and empty.
func (q *queue) take(n int) []entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == q.read {
		if q.closed {
			return nil
		}
		q.wake.Wait()
	}
	q.entries = q.entries[:0]
	size := uint64(len(q.ring))
	for len(q.entries) < n && q.read < q.head {
		at := q.read % size
		length := binary.LittleEndian.Uint32(q.ring[at:])
		if length == ^uint32(0) {
			q.read += size - at
			continue
		}
		e := q.ring[at:]
		addr := netip.AddrFrom16([16]byte(e[8:24]))
		if e[6] == 4 {
			addr = addr.Unmap()
		}
		q.read += uint64(entryHeader+length+7) &^ 7
		q.entries = append(q.entries, entry{
			from: netip.AddrPortFrom(addr, binary.LittleEndian.Uint16(e[4:])),
			data: e[entryHeader : entryHeader+length],
			end:  q.read,
		})
	}
	return q.entries
}

// release gives the room of a batch back.
func (q *queue) release(batch []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(batch); n > 0 {
		q.tail = batch[n-1].end
	}
}

// close lets take end once all is taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}

// discard throws away what is left in a closed queue and counts it.
func (q *queue) discard() (n int) {
	for {
		batch := q.take(sendBatch)
		if batch == nil {
			return n
		}
		n += len(batch)
		q.release(batch)
	}
}

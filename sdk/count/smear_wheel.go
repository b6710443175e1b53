package count

// entry is a record's next turn: to begin, where ticks says for how long it
// counts, or to be over.
type entry struct {
	stream         uint32
	ticks          uint32
	packets, bytes uint64 // a tick, << fraction
}

// wheel keeps entries by the tick of their turn. Entries of a tick lie in
// chunks, so that a turn reads memory in order; chunks come in slabs, as they
// are needed.
type wheel struct {
	heads  []uint32 // by tick, the chunk being filled, + 1
	slabs  []*[chunkSlab]chunk
	chunks uint32 // ever used
	free   uint32 // first free one below chunks, + 1
	used   int    // entries
	limit  int
}

type chunk struct {
	next    uint32
	n       uint32
	entries [21]entry
}

const (
	chunkSlab  = 512  // 256 KiB
	wheelTicks = 8192 // 400 s, more than the longest spread and its delay
)

func (w *wheel) full() bool { return w.used >= w.limit }

func (w *wheel) at(ref uint32) *chunk {
	return &w.slabs[(ref-1)/chunkSlab][(ref-1)%chunkSlab]
}

// add puts an entry to a tick that is less than wheelTicks away.
func (w *wheel) add(tick int64, e entry) {
	head := &w.heads[tick%wheelTicks]
	if *head == 0 || w.at(*head).n == uint32(len(chunk{}.entries)) {
		ref := w.free
		if ref != 0 {
			w.free = w.at(ref).next
		} else {
			if w.chunks%chunkSlab == 0 {
				w.slabs = append(w.slabs, new([chunkSlab]chunk))
			}
			w.chunks++
			ref = w.chunks
		}
		c := w.at(ref)
		c.next, c.n = *head, 0
		*head = ref
	}
	c := w.at(*head)
	c.entries[c.n] = e
	c.n++
	w.used++
}

// take empties a tick and returns its chunks, each to be given to drop before
// the next is looked at.
func (w *wheel) take(tick int64) uint32 {
	head := &w.heads[tick%wheelTicks]
	ref := *head
	*head = 0
	return ref
}

// drop frees a chunk and returns the one after it, 0 for none.
func (w *wheel) drop(ref uint32) uint32 {
	c := w.at(ref)
	next := c.next
	w.used -= int(c.n)
	c.next, c.n = w.free, 0
	w.free = ref
	return next
}

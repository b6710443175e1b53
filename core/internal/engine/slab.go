package engine

import "unsafe"

// budget is the memory that all tables of an engine may map.
type budget struct{ limit, used uint64 }

func (b *budget) alloc(n uint64) []byte {
	if n > b.limit || b.used > b.limit-n || n > 1<<30 {
		return nil
	}
	mem, err := mapMemory(int(n))
	if err != nil {
		return nil // the same as the limit: refused and counted
	}
	b.used += n
	return mem
}

func (b *budget) release(mem []byte) {
	if mem != nil {
		b.used -= uint64(len(mem))
		unmapMemory(mem)
	}
}

// slab hands out fixed-size records by number, in chunks that never move. A
// free record's first four bytes link to the next free one.
type slab struct {
	mem    *budget
	size   uint32 // bytes of a record
	shift  uint32 // log2 of the records in a chunk
	max    uint32 // records
	chunks []unsafe.Pointer
	maps   [][]byte
	top    uint32 // records ever handed out
	free   uint32 // number + 1 of the first free record
	used   uint32
}

func newSlab(mem *budget, size, max, chunk uint32) slab {
	s := slab{mem: mem, size: size, max: max}
	for 1<<(s.shift+1) <= chunk {
		s.shift++
	}
	return s
}

// at returns record i, which must have been handed out.
func (s *slab) at(i uint32) unsafe.Pointer {
	return unsafe.Add(s.chunks[i>>s.shift], uintptr(i&(1<<s.shift-1))*uintptr(s.size))
}

// take returns a zeroed record's number, false when there is none left.
func (s *slab) take() (uint32, bool) {
	if s.free != 0 {
		i := s.free - 1
		p := s.at(i)
		s.free = *(*uint32)(p)
		clear(unsafe.Slice((*byte)(p), s.size))
		s.used++
		return i, true
	}
	if s.top >= s.max {
		return 0, false
	}
	if s.top>>s.shift == uint32(len(s.chunks)) {
		m := s.mem.alloc(uint64(s.size) << s.shift)
		if m == nil {
			return 0, false
		}
		s.maps = append(s.maps, m)
		s.chunks = append(s.chunks, unsafe.Pointer(unsafe.SliceData(m)))
	}
	s.top++
	s.used++
	return s.top - 1, true
}

func (s *slab) give(i uint32) {
	*(*uint32)(s.at(i)) = s.free
	s.free = i + 1
	s.used--
}

func (s *slab) close() {
	for _, m := range s.maps {
		s.mem.release(m)
	}
	s.maps, s.chunks, s.top, s.used, s.free = nil, nil, 0, 0, 0
}

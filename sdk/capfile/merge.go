package capfile

import (
	"errors"
	"io"
)

// Merger gives the packets of several files in order of time; packets of the
// same time come in the order of their files.
type Merger struct {
	heap  []*stream // least first
	moved bool      // the first stream's packet was given and is to be replaced
	// failed is told of a file that ends before its proper end. The packets
	// before that are good.
	failed func(error)
}

// stream is one file with its next packet.
type stream struct {
	r     *Reader
	index int
	p     Packet
}

// before orders streams by their next packets.
func (s *stream) before(o *stream) bool {
	return s.p.Time < o.p.Time || s.p.Time == o.p.Time && s.index < o.index
}

// NewMerger begins to read the files. They stay the caller's to close.
func NewMerger(files []*Reader, failed func(error)) *Merger {
	m := &Merger{failed: failed}
	for i, r := range files {
		if s := (&stream{r: r, index: i}); m.read(s) {
			m.heap = append(m.heap, s)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m
}

// Peek returns the next packet without taking it; nil after the last. It is
// valid until the call after Take.
func (m *Merger) Peek() *Packet {
	if m.moved {
		m.moved = false
		m.replace()
	}
	if len(m.heap) == 0 {
		return nil
	}
	return &m.heap[0].p
}

// Take marks the packet that Peek returned as done with.
func (m *Merger) Take() { m.moved = true }

// replace reads the next packet of the file in front.
func (m *Merger) replace() {
	if !m.read(m.heap[0]) {
		end := len(m.heap) - 1
		m.heap[0] = m.heap[end]
		m.heap[end] = nil
		m.heap = m.heap[:end]
	}
	m.sink(0)
}

// read reads a stream's next packet; false at its end.
func (m *Merger) read(s *stream) bool {
	err := s.r.Next(&s.p)
	if err != nil && !errors.Is(err, io.EOF) {
		m.failed(err)
	}
	return err == nil
}

// sink restores the heap below i.
func (m *Merger) sink(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(m.heap) && m.heap[child].before(m.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

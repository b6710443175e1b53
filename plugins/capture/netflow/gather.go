package main

// Scratch memory into which wanted runs of records with variable-length fields
// are copied. It holds at least one record of any template, see compile.
const scratchSize = 4*65536 + margin + slack

// gather decodes records with variable-length fields: it copies what is
// wanted of each together, so that they have a fixed layout, and decodes that.
func (d *decoder) gather(msg []byte, from, to int, t *template) {
	data := msg[from:to]
	for len(data) >= t.shortest {
		used, filled := t.compact(data, d.scratch[:len(d.scratch)-slack])
		if filled > margin {
			d.flows(d.scratch, margin, filled, t)
		}
		data = data[used:]
		if filled == margin { // not even one was whole
			d.malformed(lostRecord, "a record ends behind its set")
			return
		}
	}
	d.rest(msg, to-len(data), to, t)
}

// compact copies as many whole records from data as into has room for, behind
// its margin. It returns the octets read and where the copies end.
func (t *template) compact(data, into []byte) (used, filled int) {
	filled = margin
	for len(data)-used >= t.shortest && len(into)-filled >= t.length {
		n := t.copyRecord(data[used:], into[filled:filled+t.length])
		if n < 0 {
			return used, filled
		}
		used += n
		filled += t.length
	}
	return used, filled
}

// copyRecord copies the wanted parts of the record with which data begins and
// returns how long it is, -1 if it is not whole.
func (t *template) copyRecord(data, into []byte) int {
	off, out := 0, 0
	for i := range t.steps {
		s := &t.steps[i]
		if off+int(s.fixed) > len(data) {
			return -1
		}
		if s.to > 0 {
			out += copy(into[out:], data[off+int(s.from):off+int(s.to)])
		}
		off += int(s.fixed)
		if s.tail {
			break
		}
		n, head := varLength(data, off)
		if off += head; head == 0 || off+n > len(data) {
			return -1
		}
		if s.scalar {
			putScalar(into[out:out+8], data[off:off+n])
			out += 8
		}
		off += n
	}
	return off
}

// putScalar writes a number of at most eight octets; a longer one is none and
// becomes 0.
func putScalar(into, number []byte) {
	clear(into)
	if len(number) <= len(into) {
		copy(into[len(into)-len(number):], number)
	}
}

package main

import "encoding/binary"

// A record is read through a window: a number is the eight octets before its
// end, masked. So a window begins some octets before the record, of which
// there are always that many: the header of the set and that of the message.
// It is always of the same size, so that no read through it needs a check, and
// goes on behind a short record; no slot reads there.
const (
	margin     = 8
	reach      = 255 // octets of a record that a window shows
	windowSize = margin + reach + 16
	slack      = windowSize // octets behind a message that must be ours
)

type window [windowSize]byte

// slot is where a number ends in a record of fixed layout, in octets from the
// record's begin. A slot with mask 0 reads 0.
type slot struct {
	mask uint64
	end  uint16
}

// of reads the number in a record that margin octets come before.
func (s *slot) of(w []byte) uint64 {
	i := int(s.end)
	return binary.BigEndian.Uint64(w[i:i+8]) & s.mask // cheaper than w[i:]
}

// hotSlot is a slot in a window.
type hotSlot struct {
	mask uint64
	end  uint8
}

func (s *hotSlot) in(w *window) uint64 {
	i := int(s.end)
	return binary.BigEndian.Uint64(w[i:i+8]) & s.mask
}

// octets4 reads an IPv4 address as it stands.
func (s *hotSlot) octets4(w *window) [4]byte {
	i := int(s.end)
	return [4]byte(w[i+4 : i+8])
}

// octets16 reads an IPv6 address, the begin of which in the record is at.
func octets16(w *window, at uint8) [16]byte {
	i := int(at)
	return [16]byte(w[i+margin : i+margin+16])
}

// window shows the record that begins at from in msg.
func (d *decoder) window(t *template, msg []byte, from int) *window {
	if t.far == nil {
		return (*window)(msg[from-margin : from-margin+windowSize])
	}
	t.far.gather(&d.far, msg[from-margin:from+t.length])
	return &d.far
}

// farSlots are where the hot slots lie in records too long for a window.
// What is in them is brought together in one.
type farSlots struct {
	hot   [hotSlots]slot
	quiet [quietSlots]slot
	v6    [3]uint16 // begins of addresses; 0: before them is another field, or none
	has6  [3]bool
}

// at6 is where gather puts the IPv6 addresses.
const at6 = 8 * (hotSlots + quietSlots)

// gather reads the far slots of a record, before which w begins, into a window
// as nearSlots lays it out.
func (f *farSlots) gather(into *window, w []byte) {
	for i := range f.hot {
		binary.BigEndian.PutUint64(into[margin+8*i:], f.hot[i].of(w))
	}
	for i := range f.quiet {
		binary.BigEndian.PutUint64(into[margin+8*(hotSlots+i):], f.quiet[i].of(w))
	}
	for i, at := range f.v6 {
		if f.has6[i] {
			copy(into[margin+at6+16*i:][:16], w[margin+int(at):])
		}
	}
}

// bring lays the hot slots out: where they are, if a window reaches them all.
func (t *template) bring(f *farSlots) {
	last := uint16(0)
	for _, s := range f.hot {
		last = max(last, s.end)
	}
	for _, s := range f.quiet {
		last = max(last, s.end)
	}
	for _, at := range f.v6 {
		last = max(last, at)
	}
	if last > reach {
		t.far = f
	}
	near := func(s slot, n int) hotSlot {
		if t.far == nil {
			return hotSlot{s.mask, uint8(s.end)}
		}
		return hotSlot{s.mask, uint8(8 * (n + 1))}
	}
	for i, s := range f.hot {
		t.hot[i] = near(s, i)
	}
	for i, s := range f.quiet {
		t.quiet[i] = near(s, hotSlots+i)
	}
	for i, at := range f.v6 {
		if t.v6[i] = uint8(at); t.far != nil {
			t.v6[i] = uint8(at6 + 16*i)
		}
	}
}

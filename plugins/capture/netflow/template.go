package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of templates.
const (
	maxFields      = 1024  // in one template
	maxRecord      = 65507 // octets of the shortest record: what a datagram can hold
	variableLength = 65535 // field length that announces a length in the record (RFC 7011 7)
)

// field is one field of a template as it is announced.
type field struct {
	pen    uint32 // enterprise number, 0 for IANA's elements
	id     uint16
	length uint16
}

// slowSlot is a slot outside the hot ones.
type slowSlot struct {
	slot
	what uint8
}

// step is one part of a walk through a record with variable-length fields:
// fixed octets, of which some are wanted, and then a field that tells its
// length.
type step struct {
	fixed     uint16 // octets before the variable field
	from, to  uint16 // of them, those that are copied
	tail      bool   // the fixed octets end the record: no variable field follows
	section   bool   // the variable field is the frame section
	scalar    bool   // the variable field is a number, copied as eight octets
	scalarMax uint8  // longest encoding
}

// template is a compiled template. It never changes, but for its count of uses,
// which the store's lock guards: workers share it.
//
// A layout of fixed length is read in place. Of records with variable-length
// fields the wanted runs of octets are first copied together, which gives a
// fixed layout again: all slots refer to that.
type template struct {
	refs       int    // of tables, and of those that have interned it
	definition string // as announced, without the id; see definitionHead
	options    bool   // of options data
	scope      int    // options: so many fields are the scope
	fields     []field

	length   int // octets of a record of the (copied) fixed layout
	shortest int // octets of the shortest record on the wire
	steps    []step

	hot   [hotSlots]hotSlot
	quiet [quietSlots]hotSlot // what is not 0 there makes a record odd
	v6    [3]uint8            // where source, destination and next hop begin, if the template has them
	far   *farSlots           // nil: a window shows all of these in a record
	slow  []slowSlot
	has   uint64
	time  uint8 // format of hotStart and hotEnd

	elapsed uint64 // mask on hotEnd - hotStart that makes it milliseconds; 0 where it is none

	section       uint8  // a frame section: sectionEthernet, sectionIP
	sectionEnd    uint16 // where it ends, if its length is fixed
	sectionLength uint16
}

// counts reports whether records of the template can be traffic, and the
// cause under which they are counted if not.
func (t *template) counts() (cause, bool) {
	switch {
	case t.section != sectionNone:
		return 0, true
	case t.has&(hasIPv4|hasIPv6) != 0 && t.has&(hasPackets|hasOctets) != 0:
		return 0, true
	case t.has&(1<<slowNATEvent) != 0:
		return lostNAT, false
	case t.has&(1<<slowFirewallEvent) != 0:
		return lostFirewall, false
	case t.has&(hasIPv4|hasIPv6) == 0:
		return lostNoAddresses, false
	}
	return lostNoCounters, false
}

var (
	errCut     = errors.New("a template ends behind its set")
	errFields  = fmt.Errorf("a template has more than %d fields", maxFields)
	errEmpty   = errors.New("a template describes records without a single octet")
	errTooLong = errors.New("a template describes records longer than a datagram")
	errScope   = errors.New("an options template whose scope makes no sense")
)

// define reads the field specifiers of a template: n of them, 4 octets each,
// 8 with an enterprise number (IPFIX only). It returns the octets read.
func define(data []byte, n int, ipfix bool, into []field) ([]field, int, error) {
	if n > maxFields {
		return into, 0, errFields
	}
	off := 0
	for range n {
		if len(data) < off+4 {
			return into, 0, errCut
		}
		f := field{id: binary.BigEndian.Uint16(data[off:]), length: binary.BigEndian.Uint16(data[off+2:])}
		off += 4
		if ipfix && f.id&0x8000 != 0 {
			if len(data) < off+4 {
				return into, 0, errCut
			}
			f.id &= 0x7fff
			f.pen = binary.BigEndian.Uint32(data[off:])
			off += 4
		}
		into = append(into, f)
	}
	return into, off, nil
}

// compile turns fields into a template. definition is kept for the disk and
// to tell equal templates.
func compile(definition string, fields []field, options bool, scope int) (*template, error) {
	t := &template{definition: definition, options: options, scope: scope}
	variable, copied := false, 0
	for _, f := range fields {
		if f.length == variableLength {
			variable = true
			t.shortest++
			copied += 8 // at most, should it be a number
			continue
		}
		t.shortest += int(f.length)
	}
	copied += t.shortest
	switch {
	case t.shortest == 0:
		return nil, errEmpty
	case copied > maxRecord:
		return nil, errTooLong
	case options:
		if scope > len(fields) {
			return nil, errScope
		}
		t.fields = append([]field(nil), fields...)
		return t, nil
	}
	c := compiler{t: t, variable: variable}
	c.run(fields)
	return t, nil
}

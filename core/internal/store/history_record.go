package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// State is how far an attack of the history has got.
type State uint8

// The states.
const (
	StateOpen        State = iota + 1
	StateEnded             // its end was told
	StateInterrupted       // the daemon stopped or died while it was open
)

var stateNames = [...]string{StateOpen: "open", StateEnded: "ended", StateInterrupted: "interrupted"}

// StateNames are the states' names.
var StateNames = stateNames[StateOpen:]

func (s State) String() string {
	if s < StateOpen || s > StateInterrupted {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return stateNames[s]
}

// ParseState reads a state's name; 0 is none.
func ParseState(name string) State { return State(max(0, slices.Index(stateNames[:], name))) }

// key is where an attack lies in the history: its start in Unix nanoseconds and
// a number of its own, both big-endian, so that keys are ordered by time.
type key [16]byte

func newKey(started time.Time, seq uint64) (k key) {
	binary.BigEndian.PutUint64(k[:8], uint64(max(0, started.UnixNano())))
	binary.BigEndian.PutUint64(k[8:], seq)
	return k
}

func (k key) started() int64 { return int64(binary.BigEndian.Uint64(k[:8])) }

// keyOf is the key at the end of an index's.
func keyOf(b []byte) (k key) {
	if len(b) >= len(k) {
		copy(k[:], b[len(b)-len(k):])
	}
	return k
}

// row is what attacks are looked for by, small enough to look at a million of
// them. Names are numbers: see names.
type row struct {
	state      State
	outgoing   bool
	target     netip.Prefix // not valid: it has none
	label      uint32
	group      uint32
	network    uint32
	last       int64 // Unix nanoseconds: of the newest event, the end of one that has ended
	peak       float64
	thresholds []uint32 // all that it crossed
	id         []byte   // of the attack; read from a file, valid within the transaction only
}

const (
	rowFixed      = 50 // octets before thresholds
	maxThresholds = 64
	maxID         = 64
	maxText       = 256 // octets of a name
)

func (r *row) append(b []byte) []byte {
	family, addr := byte(0), [16]byte{}
	if r.target.IsValid() {
		family, addr = familyOf(r.target.Addr()), r.target.Addr().As16()
	}
	outgoing := byte(0)
	if r.outgoing {
		outgoing = 1
	}
	b = append(b, byte(r.state), outgoing, family, byte(max(0, r.target.Bits())))
	b = append(b, addr[:]...)
	b = binary.BigEndian.AppendUint32(b, r.label)
	b = binary.BigEndian.AppendUint32(b, r.group)
	b = binary.BigEndian.AppendUint32(b, r.network)
	b = binary.BigEndian.AppendUint64(b, uint64(r.last))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.peak))
	b = append(b, byte(len(r.thresholds)), byte(len(r.id)))
	for _, t := range r.thresholds {
		b = binary.BigEndian.AppendUint32(b, t)
	}
	return append(b, r.id...)
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return 4
	}
	return 6
}

var errRow = errors.New("a row of the history makes no sense")

// read reads a row; the list of thresholds is used again.
func (r *row) read(b []byte) error {
	if len(b) < rowFixed || len(b) != rowFixed+4*int(b[48])+int(b[49]) {
		return errRow
	}
	*r = row{
		state: State(b[0]), outgoing: b[1] != 0, label: binary.BigEndian.Uint32(b[20:]), group: binary.BigEndian.Uint32(b[24:]), network: binary.BigEndian.Uint32(b[28:]),
		last: int64(binary.BigEndian.Uint64(b[32:])), peak: math.Float64frombits(binary.BigEndian.Uint64(b[40:])), thresholds: r.thresholds[:0],
	}
	addr := netip.AddrFrom16([16]byte(b[4:20]))
	switch b[2] {
	case 4:
		r.target = netip.PrefixFrom(addr.Unmap(), int(b[3]))
	case 6:
		r.target = netip.PrefixFrom(addr, int(b[3]))
	}
	rest := b[rowFixed:]
	for range b[48] {
		r.thresholds = append(r.thresholds, binary.BigEndian.Uint32(rest))
		rest = rest[4:]
	}
	r.id = rest
	if r.state < StateOpen || r.state > StateInterrupted || b[2] != 0 && !r.target.IsValid() {
		return errRow
	}
	return nil
}

// Kinds of index: each lists keys of attacks under one of their properties.
const (
	byLabel     = 'l' // number of the name
	byGroup     = 'g'
	byThreshold = 't'
	byState     = 's' // but for ended ones, which are most
	byPeak      = 'p' // powers of two
	byTarget    = 'a' // family, address, length
)

// peakClass orders attacks by their power, roughly.
func peakClass(pps float64) byte {
	if !(pps >= 1) {
		return 0
	}
	return byte(min(63, math.Ilogb(pps)))
}

// indexes are the entries that lead to a row.
func (r *row) indexes(k key) (out [][]byte) {
	number := func(kind byte, n uint32) {
		out = append(out, append(binary.BigEndian.AppendUint32([]byte{kind}, n), k[:]...))
	}
	number(byLabel, r.label)
	number(byGroup, r.group)
	for _, t := range r.thresholds {
		number(byThreshold, t)
	}
	if r.state != StateEnded {
		out = append(out, append([]byte{byState, byte(r.state)}, k[:]...))
	}
	out = append(out, append([]byte{byPeak, peakClass(r.peak)}, k[:]...))
	if r.target.IsValid() {
		out = append(out, append(targetEntry(r.target), k[:]...))
	}
	return out
}

func targetEntry(p netip.Prefix) []byte {
	addr := p.Addr().As16()
	return append(append([]byte{byTarget, familyOf(p.Addr())}, addr[:]...), byte(p.Bits()))
}

// record is an event as it lies in the history: its fields by their names in
// Go, so that later versions may add some.
type record sdk.Event

// Forms of a record.
const (
	plain    = 0
	deflated = 1

	deflateFrom = 512     // octets
	maxRecord   = 8 << 20 // octets, of JSON
)

// encoder writes records, one after the other.
type encoder struct {
	buf bytes.Buffer
	w   *flate.Writer
}

func (x *encoder) encode(e *sdk.Event) ([]byte, error) {
	text, err := json.Marshal((*record)(e))
	switch {
	case err != nil:
		return nil, fmt.Errorf("it has no form in JSON: %w", err)
	case len(text) > maxRecord:
		return nil, fmt.Errorf("it takes %d octets, more than are kept of one attack, %d", len(text), maxRecord)
	}
	if len(text) < deflateFrom {
		return append([]byte{plain}, text...), nil
	}
	x.buf.Reset()
	x.buf.WriteByte(deflated)
	if x.w == nil {
		x.w, _ = flate.NewWriter(&x.buf, flate.BestSpeed) // the level is valid
	} else {
		x.w.Reset(&x.buf)
	}
	if _, err := x.w.Write(text); err != nil {
		return nil, err
	}
	if err := x.w.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(x.buf.Bytes()), nil
}

func decode(b []byte) (e sdk.Event, err error) {
	if len(b) == 0 {
		return e, errRow
	}
	text := b[1:]
	if b[0] == deflated {
		r := flate.NewReader(bytes.NewReader(text))
		if text, err = io.ReadAll(io.LimitReader(r, maxRecord)); err != nil {
			return e, err
		}
	}
	err = json.Unmarshal(text, (*record)(&e))
	return e, err
}

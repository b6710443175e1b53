package ring

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"
)

// MaxSpanMs bounds the span of a delta, in milliseconds: a day.
const MaxSpanMs = 24 * 60 * 60 * 1000

// spanUnitMs is the unit in which spans and window ends are given.
const spanUnitMs = 50

// What Delta.Check and Flush.Check find wrong. They are values, so that
// checking hostile input allocates nothing.
var (
	ErrKind      = errors.New("delta: kind is not one of flush, host, prefix, total, counter, loss")
	ErrDirection = errors.New("delta: direction is not one that this kind may carry")
	ErrFamily    = errors.New("delta: family is not 4 or 6 (0 for a loss)")
	ErrFlags     = errors.New("delta: unknown flag")
	ErrAddress   = errors.New("delta: address is not in the form its family demands, or has bits beyond its prefix length")
	ErrPrefixLen = errors.New("delta: prefix length does not fit the family and kind")
	ErrSpan      = errors.New("delta: span is not a multiple of 50 ms within its bounds")
	ErrCounters  = errors.New("delta: a built-in counter is above the total")
	ErrSampling  = errors.New("delta: sampling rate is 0")
	ErrID        = errors.New("delta: user counter id is above 63")
	ErrReserved  = errors.New("delta: reserved bytes are not 0")
	ErrWindow    = errors.New("flush: window end is negative or not a multiple of 50 ms")
	ErrNumber    = errors.New("flush: number is 0")
	ErrLedger    = errors.New("flush: counted and dropped exceed received")
)

const knownFlags = FlagSmeared | FlagFolded | FlagFlowsLeast | FlagInternalRow

// Check reports the first thing about d that no honest producer writes. It
// looks at one record only: generation, plan ids, order of flushes and
// whether the address is ours are the reader's to check. A record of
// KindFlush is checked as what it is. It does not allocate.
//
// The exemption counter is not held against the total, since it counts
// records that the total leaves out. A value that is split over several
// deltas must be split together with its total.
func (d *Delta) Check() error {
	switch d.Kind {
	case KindFlush:
		return d.AsFlush().Check()
	case KindHost, KindPrefix, KindCounter:
		if d.Direction > Outgoing {
			return ErrDirection
		}
		if err := d.checkPrefix(); err != nil {
			return err
		}
		if d.Sampling == 0 {
			return ErrSampling
		}
	case KindTotal:
		if d.Family != 4 && d.Family != 6 {
			return ErrFamily
		}
	case KindLoss:
		if d.Family != 0 && d.Family != 4 && d.Family != 6 {
			return ErrFamily
		}
	default:
		return ErrKind
	}
	if d.Direction > Other {
		return ErrDirection
	}
	if d.Flags&^knownFlags != 0 {
		return ErrFlags
	}
	if d.SpanMs%spanUnitMs != 0 || d.SpanMs > MaxSpanMs || d.SpanMs == 0 && d.Kind != KindLoss {
		return ErrSpan
	}
	if d.Kind == KindCounter && d.ID > 63 {
		return ErrID
	}
	if d.Kind == KindHost || d.Kind == KindPrefix || d.Kind == KindTotal {
		for i := range CounterExempt {
			if uint64(d.CounterPackets[i]) > d.Packets || uint64(d.CounterBytes[i]) > d.Bytes {
				return ErrCounters
			}
		}
	}
	tail := (*[10]byte)(unsafe.Add(unsafe.Pointer(d), DeltaSize-10))
	if *tail != [10]byte{} {
		return ErrReserved
	}
	return nil
}

// checkPrefix holds address and length against family and kind.
func (d *Delta) checkPrefix() error {
	hi := binary.BigEndian.Uint64(d.Addr[:8])
	lo := binary.BigEndian.Uint64(d.Addr[8:])
	mapped := hi == 0 && lo>>32 == 0xffff
	bits := uint(d.PrefixLen)
	switch d.Family {
	case 4:
		if bits > 32 || d.Kind == KindHost && bits != 32 {
			return ErrPrefixLen
		}
		if !mapped {
			return ErrAddress
		}
		bits += 96
	case 6:
		if bits > 128 || d.Kind == KindHost && bits == 0 {
			return ErrPrefixLen
		}
		if mapped {
			return ErrAddress
		}
	default:
		return ErrFamily
	}
	// Shifts by 64 and more give 0 in Go, which is what is wanted here.
	if bits < 64 && (hi<<bits != 0 || lo != 0) || bits >= 64 && lo<<(bits-64) != 0 {
		return ErrAddress
	}
	return nil
}

// Check reports the first thing about f that no honest producer writes. The
// generation, the order of numbers and the plan's revision are the reader's to
// check. It does not allocate.
func (f *Flush) Check() error {
	if f.Kind != KindFlush {
		return ErrKind
	}
	if f.Flags&^FlushFinished != 0 {
		return ErrFlags
	}
	if f.Number == 0 {
		return ErrNumber
	}
	if f.WindowEnd < 0 || f.WindowEnd%(spanUnitMs*int64(time.Millisecond)) != 0 {
		return ErrWindow
	}
	if f.Counted > f.Received || f.DroppedTotal > f.Received-f.Counted {
		return ErrLedger
	}
	b := (*[DeltaSize]byte)(unsafe.Pointer(f))
	if b[1] != 0 || b[2] != 0 || *(*[24]byte)(b[104:]) != [24]byte{} {
		return ErrReserved
	}
	return nil
}

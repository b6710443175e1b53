package ring

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// nativeLittle tells whether this machine keeps integers as the byte tables
// of Delta and Flush do.
var nativeLittle = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 1
}()

// AppendDeltas appends the bytes of ds, DeltaSize each, integers
// little-endian on every machine, to dst. It is what travels on a stream where
// there is no shared memory.
func AppendDeltas(dst []byte, ds []Delta) []byte {
	if len(ds) == 0 {
		return dst
	}
	start := len(dst)
	dst = append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&ds[0])), len(ds)*DeltaSize)...)
	if !nativeLittle {
		swapRecords(dst[start:])
	}
	return dst
}

// DecodeDeltas appends the records in src to dst. It fails, leaving dst as it
// was, when src is not a whole number of records. It does not look into the
// records: call Delta.Check on each.
func DecodeDeltas(src []byte, dst []Delta) ([]Delta, error) {
	if len(src)%DeltaSize != 0 {
		return dst, fmt.Errorf("deltas: %d bytes are not a whole number of %d-byte records", len(src), DeltaSize)
	}
	n := len(src) / DeltaSize
	if n == 0 {
		return dst, nil
	}
	start := len(dst)
	dst = slices.Grow(dst, n)[:start+n]
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&dst[start])), n*DeltaSize)
	copy(raw, src)
	if !nativeLittle {
		swapRecords(raw)
	}
	return dst, nil
}

// field is a run of integers of one width in a record.
type field struct{ off, width, count int }

var (
	deltaFields = []field{{4, 4, 1}, {24, 4, 2}, {32, 8, 2}, {48, 4, 2*BuiltinCounters + 3}}
	flushFields = []field{{4, 4, 1}, {8, 8, 7}, {64, 4, 2}, {72, 8, 4}}
)

// swapRecords turns the integers of whole records from one byte order to the
// other, in place.
func swapRecords(b []byte) {
	for ; len(b) >= DeltaSize; b = b[DeltaSize:] {
		fields := deltaFields
		if Kind(b[0]) == KindFlush {
			fields = flushFields
		}
		for _, f := range fields {
			for i := range f.count {
				v := b[f.off+i*f.width:]
				if f.width == 4 {
					binary.BigEndian.PutUint32(v, binary.LittleEndian.Uint32(v))
				} else {
					binary.BigEndian.PutUint64(v, binary.LittleEndian.Uint64(v))
				}
			}
		}
	}
}

package ring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Limits of a record ring.
const (
	MaxStages = 16 // filters behind one capture worker
	MaxTaps   = 16 // exporters of raw records
)

// Patience is how long a record waits for a filter before the filter's
// on_failure decides.
const Patience = 100 * time.Millisecond

// OnFailure says what becomes of records that a filter does not judge.
type OnFailure uint8

// The ways to fail, numbered as in the plugin contract.
const (
	Bypass OnFailure = 0 // they count as if the filter were not there
	Drop   OnFailure = 1 // they carry VerdictFailed: the ledger counts them
	Stop   OnFailure = 2 // they wait
)

// VerdictFailed stands in records that a filter with on_failure = "drop" did
// not judge. Filters do not write it themselves; whoever runs one does.
const VerdictFailed traffic.Verdict = 255

// recordMagic opens the header of a record ring: "FNMRECRD".
const recordMagic = 0x44524345524d4e46

// recordHeader is the first page of a record ring. All positions count records
// since the ring was made and never wrap. The layout is:
//
//	 off size writer   field
//	   0    8 core     magic "FNMRECRD"
//	   8    4 core     ABI version
//	  12    4 core     record size, 128
//	  16    8 core     capacity in records, a power of two
//	  24    4 core     generation
//	  28    4 core     number of stages
//	  32    4 core     number of taps
//	  64    8 producer head: records before it are written
//	  72    8 producer judged: records before it have passed the last stage, or a stage's on_failure
//	  80    8 producer reserved: slots of records before it may be being written
//	 128    8 both     wake word of the producer, which waits for verdicts
//	 256  128 …        stage 0; 15 more follow
//	  +0    8 stage    cursor: the stage has judged the records before it
//	 +64    8 producer floor: the producer has gone on without the stage up to here
//	 +72    8 both     wake word of the stage
//	2304   64 …        tap 0; 15 more follow
//	  +0    8 tap      cursor: the tap has copied or lost the records before it
//	  +8    8 tap      records lost
//	 +16    8 both     wake word of the tap
//	4096   … producer  slots, 128 bytes each; filters write class and verdict
//	   …   … producer  addresses of exporters, 32 bytes each: index, address
//	   …   … stages    sampling rates that filters changed, 8 bytes for each slot: the rate, and above it the low 32 bits of the
//	                   record's position plus one
//
// How far stage i has got is max(cursor, floor) of i; it may go as far as the
// stage before it has got, the first one as far as head. What lies before
// judged is counted, and its slots are free again, when the producer says so to
// itself: no word that others can write tells it so.
//
// A stage that lets a record wait for longer than Patience is passed over: the
// producer moves the stage's floor to the records that have come so far, and
// keeps it moving until the stage's cursor has caught up with it. A stage sees
// its floor when it asks for the next batch. So a stage can be passed over while
// it judges, and its slots be written again. Therefore a stage judges a copy, and
// its verdict goes into a slot by a compare-and-swap on the word that holds both
// the verdict (byte 122) and the low 32 bits of the record's position plus one
// (bytes 124 to 127): a late verdict never lands on another record. (The class
// is written before, without that care, after checking the position: a stage that
// was stopped for a whole lap between the two can leave a class on a wrong
// record.) A sampling rate that the stage changed is written before the verdict,
// in which verdictSampled then tells of it.
//
// A cursor beyond head or one that goes backwards is no honest stage's: from
// then on the stage counts as failed for the life of the ring.
type recordHeader struct {
	magic      uint64
	abi        uint32
	recordSize uint32
	capacity   uint64
	generation uint32
	stages     uint32
	taps       uint32
	_          [28]byte

	head     atomic.Uint64
	judged   atomic.Uint64
	reserved atomic.Uint64
	_        [lineSize - 24]byte
	verdicts wakeWord
	_        [2*lineSize - 8]byte

	stage [MaxStages]stageHeader
	tap   [MaxTaps]tapHeader
}

type stageHeader struct {
	cursor  atomic.Uint64
	_       [lineSize - 8]byte
	floor   atomic.Uint64
	records wakeWord
	_       [lineSize - 16]byte
}

// passed is how far the stage has got.
func (s *stageHeader) passed() uint64 { return max(s.cursor.Load(), s.floor.Load()) }

type tapHeader struct {
	cursor  atomic.Uint64
	lost    atomic.Uint64
	records wakeWord
	_       [lineSize - 24]byte
}

// The tag word of a slot: byte 120 to 127 of a record. See recordHeader.
const (
	tagOffset    = 120
	tagShift     = 32 // bits below: ICMP type, ICMP code, verdict, spread
	verdictShift = 16
	verdictMask  = 0xff << verdictShift
	dataMask     = 1<<tagShift - 1
)

// verdictSampled is added to the verdict of a record whose sampling rate a
// filter changed.
const verdictSampled = 0x40

// overrideSize is the room for a changed sampling rate.
const overrideSize = 8

// tagOf is the part of a tag word that belongs to a position.
func tagOf(pos uint64) uint64 { return (pos + 1) << tagShift }

// tagWord is the tag word of a record; atomic only for those in the ring.
func tagWord(r *traffic.Record) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(r), tagOffset))
}

// atomicTag is the tag word of a slot in the ring, which others may change.
func atomicTag(r *traffic.Record) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Add(unsafe.Pointer(r), tagOffset))
}

// recordMap is what every end of a record ring has.
type recordMap struct {
	m          *mapping
	h          *recordHeader
	slots      []traffic.Record
	rates      []atomic.Uint64 // changed sampling rates, by slot
	exporters  []exporterEntry
	capacity   uint64
	generation uint32
}

func newRecordMap(m *mapping, capacity uint64, generation uint32) recordMap {
	return recordMap{
		m: m, h: (*recordHeader)(unsafe.Pointer(&m.mem[0])), capacity: capacity, generation: generation,
		slots:     unsafe.Slice((*traffic.Record)(unsafe.Pointer(&m.mem[headerSize])), capacity),
		rates:     unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&m.mem[headerSize+exportersSize+capacity*traffic.RecordSize])), capacity),
		exporters: unsafe.Slice((*exporterEntry)(unsafe.Pointer(&m.mem[headerSize+capacity*traffic.RecordSize])), exporterEntries),
	}
}

// openRecordMap maps a record ring that somebody else made.
func openRecordMap(f *os.File) (recordMap, error) {
	m, err := openMemory(f)
	if err != nil {
		return recordMap{}, err
	}
	h := (*recordHeader)(unsafe.Pointer(&m.mem[0]))
	capacity := h.capacity
	if err := checkHeader("record", recordMagic, h.magic, h.abi, recordABI, h.recordSize, capacity, traffic.RecordSize+overrideSize, len(m.mem)-exportersSize); err != nil {
		m.close()
		return recordMap{}, err
	}
	return newRecordMap(m, capacity, h.generation), nil
}

// slot is the slot of a position.
func (r *recordMap) slot(pos uint64) *traffic.Record { return &r.slots[pos&(r.capacity-1)] }

// settleRate takes the mark of a changed sampling rate out of a copied record's
// verdict and applies it. A rate that is not this record's is nobody's.
func (r *recordMap) settleRate(rec *traffic.Record, pos uint64) {
	rec.Verdict &^= verdictSampled
	if v := r.rates[pos&(r.capacity-1)].Load(); uint32(v>>32) == uint32(pos+1) && uint32(v) != 0 {
		rec.Rescale(uint32(v))
	}
}

// isSampled reports whether a copied record's verdict tells of a changed
// sampling rate.
func isSampled(v traffic.Verdict) bool { return v&verdictSampled != 0 && v != VerdictFailed }

// copyOut copies the records from pos on to dst, which is not longer than the
// ring.
func (r *recordMap) copyOut(dst []traffic.Record, pos uint64) {
	first := copy(dst, r.slots[pos&(r.capacity-1):])
	copy(dst[first:], r.slots)
}

// Generation is the number given at creation.
func (r *recordMap) Generation() uint32 { return r.generation }

// RecordRing is the core's end of a record ring: it creates the memory, hands
// it on and looks at the cursors; no record passes through the core.
type RecordRing struct {
	recordMap
	name   string
	file   *os.File
	stages int
	taps   int
}

// CreateRecord makes a record ring of capacity records, a power of two from 2
// to MaxCapacity, for so many filters (stages, 0 to MaxStages) and exporters
// of raw records (taps, 0 to MaxTaps).
func CreateRecord(name string, capacity, stages, taps int, generation uint32) (*RecordRing, error) {
	switch {
	case capacity < 0 || !validCapacity(uint64(capacity)):
		return nil, fmt.Errorf("ring %s: capacity %d is not a power of two from 2 to %d", name, capacity, MaxCapacity)
	case stages < 0 || stages > MaxStages:
		return nil, fmt.Errorf("ring %s: %d filters, at most %d can stand behind a capture", name, stages, MaxStages)
	case taps < 0 || taps > MaxTaps:
		return nil, fmt.Errorf("ring %s: %d exporters of raw records, at most %d can stand behind a capture", name, taps, MaxTaps)
	}
	f, m, err := createMemory(name, headerSize+exportersSize+capacity*(traffic.RecordSize+overrideSize))
	if err != nil {
		return nil, err
	}
	r := &RecordRing{
		recordMap: newRecordMap(m, uint64(capacity), generation), name: name, file: f,
		stages: stages, taps: taps,
	}
	r.h.magic, r.h.abi, r.h.recordSize = recordMagic, recordABI, traffic.RecordSize
	r.h.capacity, r.h.generation = uint64(capacity), generation
	r.h.stages, r.h.taps = uint32(stages), uint32(taps)
	return r, nil
}

// File is the memory, to be sent to capture, filters and exporters with
// SendFiles. The ring owns it.
func (r *RecordRing) File() *os.File { return r.file }

// RecordStats is where the ends of a record ring say they are, in records
// since the ring was made. They are words of other processes, for people.
type RecordStats struct {
	Head, Judged uint64
	Stages       []uint64 // how far each has got
	Taps         []TapStats
}

// TapStats is where a tap says it is.
type TapStats struct{ Cursor, Lost uint64 }

// Stats looks at the cursors.
func (r *RecordRing) Stats() RecordStats {
	if !r.m.enter() {
		return RecordStats{}
	}
	defer r.m.leave()
	s := RecordStats{Head: r.h.head.Load(), Judged: r.h.judged.Load()}
	for i := range r.stages {
		s.Stages = append(s.Stages, r.h.stage[i].passed())
	}
	for i := range r.taps {
		s.Taps = append(s.Taps, TapStats{Cursor: r.h.tap[i].cursor.Load(), Lost: r.h.tap[i].lost.Load()})
	}
	return s
}

// Close ends the ring on the core's side; other processes keep their maps.
func (r *RecordRing) Close() error {
	r.m.close()
	if err := r.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("ring %s: close: %w", r.name, err)
	}
	return nil
}

// The offsets in the table are a contract.
const (
	_ = uint(64 - unsafe.Offsetof(recordHeader{}.head))
	_ = uint(unsafe.Offsetof(recordHeader{}.head) - 64)
	_ = uint(128 - unsafe.Offsetof(recordHeader{}.verdicts))
	_ = uint(unsafe.Offsetof(recordHeader{}.verdicts) - 128)
	_ = uint(256 - unsafe.Offsetof(recordHeader{}.stage))
	_ = uint(unsafe.Offsetof(recordHeader{}.stage) - 256)
	_ = uint(2304 - unsafe.Offsetof(recordHeader{}.tap))
	_ = uint(unsafe.Offsetof(recordHeader{}.tap) - 2304)
	_ = uint(2*lineSize - unsafe.Sizeof(stageHeader{}))
	_ = uint(unsafe.Sizeof(stageHeader{}) - 2*lineSize)
	_ = uint(lineSize - unsafe.Sizeof(tapHeader{}))
	_ = uint(unsafe.Sizeof(tapHeader{}) - lineSize)
	_ = uint(headerSize - unsafe.Sizeof(recordHeader{}))
	_ = uint(tagOffset + 2 - unsafe.Offsetof(traffic.Record{}.Verdict))
	_ = uint(unsafe.Offsetof(traffic.Record{}.Verdict) - tagOffset - 2)
)

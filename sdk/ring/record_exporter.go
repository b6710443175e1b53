package ring

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"unsafe"
)

// The addresses of the last exporters that records came from lie in the ring,
// each at its index modulo the room there is: whoever reads them looks whether
// it is the one he asks for.
const (
	exporterEntries = 1024
	exportersSize   = exporterEntries * 32
)

// exporterEntry is one exporter. Its index is written last, and is 0 while the
// rest is.
type exporterEntry struct {
	index  atomic.Uint64
	hi, lo atomic.Uint64 // the address, IPv4 mapped
	_      uint64
}

// SetExporter says who an exporter's index stands for. The goroutine that
// writes records calls it, before it commits the first one of the exporter.
func (w *RecordWriter) SetExporter(index uint32, address netip.Addr) {
	if !w.m.enter() {
		return
	}
	defer w.m.leave()
	e := &w.exporters[index%exporterEntries]
	a := address.As16()
	e.index.Store(0)
	e.hi.Store(binary.BigEndian.Uint64(a[:8]))
	e.lo.Store(binary.BigEndian.Uint64(a[8:]))
	e.index.Store(uint64(index))
}

// Exporter is the address of the exporter with an index, invalid where it is
// not known.
func (r *recordMap) Exporter(index uint32) netip.Addr {
	if index == 0 || !r.m.enter() {
		return netip.Addr{}
	}
	defer r.m.leave()
	e := &r.exporters[index%exporterEntries]
	var a [16]byte
	if e.index.Load() != uint64(index) {
		return netip.Addr{}
	}
	binary.BigEndian.PutUint64(a[:8], e.hi.Load())
	binary.BigEndian.PutUint64(a[8:], e.lo.Load())
	if e.index.Load() != uint64(index) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}

const (
	_ = uint(exportersSize - exporterEntries*unsafe.Sizeof(exporterEntry{}))
	_ = uint(exporterEntries*unsafe.Sizeof(exporterEntry{}) - exportersSize)
)

package main

import (
	"encoding/binary"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The versions of sFlow that are read: 5 (sflow.org, "sFlow Version 5"), 4
// and 2 (RFC 3176 is version 4; 2 differs from it in the gateway data only).
const (
	version2 = 2
	version4 = 4
	version5 = 5
)

// Address types of the sFlow address union.
const (
	addressNone = 0 // unknown, no octets follow
	address4    = 1
	address6    = 2
)

var be = binary.BigEndian

// decoder reads one datagram after the other, sample by sample. It neither
// allocates nor keeps what it has read. One goroutine uses it at a time.
type decoder struct {
	parser traffic.Parser
	lost   [causes]uint64 // since the caller has last cleared it

	// Of the datagram that open has begun.
	data     []byte
	off      int        // of the next sample
	left     uint32     // samples that are announced and not read
	version  uint32     // 2, 4 or 5
	agent    netip.Addr // of the device; the zero Addr where it does not say
	subAgent uint32     // v5: of the part of the device that has a sequence of its own
	sequence uint32
	counters uint64 // counter samples
	unknown  uint64 // samples of a kind that is not read
	bad      uint64 // samples that contradict themselves
	repairs  int    // searches for the end of a sample
	found    found  // of the sample
	portName port   // what the last counter sample says
}

// port is an interface's name, as a counter sample tells it.
type port struct {
	index uint32 // 0: it told none
	name  []byte // lies in the datagram
}

// open begins a datagram. False says that it is none that can be read; its
// loss is counted.
func (d *decoder) open(data []byte) bool {
	d.data, d.left, d.counters, d.unknown, d.bad, d.repairs = data, 0, 0, 0, 0, 0
	d.portName = port{}
	if len(data) < 8 {
		d.lost[causeDatagram]++
		return false
	}
	d.version = be.Uint32(data)
	if d.version != version5 && d.version != version4 && d.version != version2 {
		d.lost[causeVersion]++
		return false
	}
	agent, off, ok := address(data, 4)
	rest := 12 // sequence number, uptime, samples
	if d.version == version5 {
		rest = 16 // sub-agent before them
	}
	if !ok || len(data) < off+rest {
		d.lost[causeDatagram]++
		return false
	}
	d.agent, d.subAgent = agent, 0
	if d.version == version5 {
		d.subAgent = be.Uint32(data[off:])
		off += 4
	}
	d.sequence = be.Uint32(data[off:])
	d.left = be.Uint32(data[off+8:])
	d.off = off + 12
	return true
}

// close counts what the datagram held behind its samples. Zeros are padding.
func (d *decoder) close() {
	if d.off >= len(d.data) {
		return
	}
	for _, b := range d.data[d.off:] {
		if b != 0 {
			d.lost[causeTrailing]++
			return
		}
	}
}

// cut gives up a datagram from here on.
func (d *decoder) cut() {
	d.lost[causeCut]++
	d.off, d.left = len(d.data), 0
}

// address reads the address union at off and returns where it ends.
func address(b []byte, off int) (netip.Addr, int, bool) {
	if len(b) < off+4 {
		return netip.Addr{}, 0, false
	}
	kind := be.Uint32(b[off:])
	off += 4
	switch {
	case kind == addressNone:
		return netip.Addr{}, off, true
	case kind == address4 && len(b) >= off+4:
		return netip.AddrFrom4([4]byte(b[off:])), off + 4, true
	case kind == address6 && len(b) >= off+16:
		return netip.AddrFrom16([16]byte(b[off:])).Unmap(), off + 16, true
	}
	return netip.Addr{}, 0, false
}

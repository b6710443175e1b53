package afpacket

import (
	"encoding/binary"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Of struct virtio_net_hdr (linux/virtio_net.h).
const (
	vnetSize          = 10
	vnetNeedsChecksum = 1
	vnetGSOMask       = 0x7f // without VIRTIO_NET_HDR_GSO_ECN
	vnetGSOTCP4       = 1
	vnetGSOUDP        = 3 // fragmented by the receiver: one packet
	vnetGSOTCP6       = 4
	vnetGSOUDPL4      = 5
)

// superFrame is what the kernel says of a frame that stands for several: GRO
// and LRO put them together as they come in, TSO and GSO take them apart after
// they were seen going out.
type superFrame struct {
	kind       uint8
	header     int // octets before the payload of the innermost transport
	size       int // of a segment's payload
	havePlaces bool
}

// readSuperFrame reads a virtio header that says so. frame begins at the
// link-layer header.
func readSuperFrame(v *[vnetSize]byte, frame []byte) (f superFrame) {
	ne := binary.NativeEndian
	f.kind, f.size = v[1]&vnetGSOMask, int(ne.Uint16(v[4:]))
	transport := int(ne.Uint16(v[6:]))
	if v[0]&vnetNeedsChecksum == 0 || f.size == 0 {
		return f
	}
	// A super-frame has its checksum pending, so the kernel tells where the
	// innermost transport header begins.
	switch f.kind {
	case vnetGSOTCP4, vnetGSOTCP6:
		if transport+13 > len(frame) {
			return f
		}
		f.header, f.havePlaces = transport+int(frame[transport+12]>>4)*4, true
	case vnetGSOUDPL4:
		f.header, f.havePlaces = transport+8, true
	}
	return f
}

// apply makes the record of a super-frame that of the segments it stands for:
// each has all headers of its own. wire is the super-frame's length.
func (f *superFrame) apply(r *traffic.Record, wire int, byFrame bool) {
	if !f.havePlaces || f.header >= wire {
		return
	}
	segments := (wire - f.header + f.size - 1) / f.size
	if segments < 2 {
		return
	}
	more := f.header // in each further segment
	if !byFrame {
		// The counted IP packet ends where the frame does, so it begins as many
		// octets before that as it has.
		more -= wire - int(r.Bytes)
	}
	if more < 0 {
		return
	}
	r.Packets *= uint64(segments)
	r.Bytes += uint64(segments-1) * uint64(more)
}

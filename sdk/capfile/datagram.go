package capfile

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// Loss is why a packet of a file gave no datagram.
type Loss uint8

// The losses. Each counts packets, but for the last two: one a file.
const (
	LossNotUDP    Loss = iota // no UDP over IPv4 or IPv6, behind at most four VLAN tags
	LossFragment              // an IP fragment: they are not put together
	LossCutFrame              // captured with too short a snapshot length, or shorter than its headers say
	LossOtherPort             // to a port that nobody asked for
	LossCutFile               // the packet in which a file ends
	LossDamaged               // the packet at which a file makes no more sense

	Losses = int(LossDamaged) + 1
)

var lossNames = [Losses]string{"file_not_udp", "file_ip_fragment", "file_cut_frame", "file_other_port", "cut_file", "damaged_file"}

// LossNames are the losses as causes of a capture's ledger, in their order.
func LossNames() []string { return lossNames[:] }

// Datagrams gives the UDP datagrams of capture files, merged by time: what an
// exporter of flows has sent, as tcpdump recorded it. One goroutine uses it.
type Datagrams struct {
	merger *Merger
	ports  []uint16
	log    func(error)
	lost   [Losses]uint64
}

// NewDatagrams begins to read the files, which stay the caller's to close.
// Without ports every datagram is given, else those to one of them. failed is
// told of a file that ends before its proper end.
func NewDatagrams(files []*Reader, ports []uint16, failed func(error)) *Datagrams {
	d := &Datagrams{ports: ports, log: failed}
	d.merger = NewMerger(files, d.failed)
	return d
}

func (d *Datagrams) failed(err error) {
	cause := LossDamaged
	if bad := (*Damage)(nil); errors.As(err, &bad) && bad.Cut {
		cause = LossCutFile
	}
	d.lost[cause]++
	d.log(err)
}

// Next gives the next datagram and when it was captured, in nanoseconds since
// the Unix epoch and never below an earlier one's; false after the last. Its
// data is valid until the next call.
func (d *Datagrams) Next() (g udp.Datagram, at int64, ok bool) {
	for p := d.merger.Peek(); p != nil; p = d.merger.Peek() {
		d.merger.Take()
		g, port, loss := datagram(p.Link, p.Data)
		switch {
		case loss >= 0:
			d.lost[loss]++
		case len(d.ports) > 0 && !slices.Contains(d.ports, port):
			d.lost[LossOtherPort]++
		default:
			return g, p.Time, true
		}
	}
	return udp.Datagram{}, 0, false
}

// Lost returns how many packets gave nothing since it was last asked.
func (d *Datagrams) Lost() [Losses]uint64 {
	lost := d.lost
	d.lost = [Losses]uint64{}
	return lost
}

var be = binary.BigEndian

// datagram takes the UDP datagram out of a frame. loss is below 0 where there
// is one.
func datagram(link traffic.LinkType, frame []byte) (g udp.Datagram, port uint16, loss int) {
	packet := network(link, frame)
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return datagram4(packet)
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return datagram6(packet)
	}
	return g, 0, int(LossNotUDP)
}

// network skips a frame's link header: what it returns begins with an IP
// header if the frame has one.
func network(link traffic.LinkType, frame []byte) []byte {
	off := 0
	switch link {
	case traffic.LinkRaw, traffic.LinkRawBSD, traffic.LinkRawOBSD, traffic.LinkIPv4, traffic.LinkIPv6:
		return frame
	case traffic.LinkNull, traffic.LinkLoop:
		return frame[min(4, len(frame)):]
	case traffic.LinkEthernet:
		off = 14
	case traffic.LinkSLL:
		off = 16
	case traffic.LinkSLL2:
		if len(frame) < 20 {
			return nil
		}
		return tagged(frame[20:], be.Uint16(frame))
	}
	if off == 0 || len(frame) < off {
		return nil
	}
	return tagged(frame[off:], be.Uint16(frame[off-2:]))
}

// tagged skips VLAN tags (IEEE 802.1Q, 802.1ad) before what an EtherType
// announces.
func tagged(b []byte, kind uint16) []byte {
	for range traffic.MaxTags {
		if kind != 0x8100 && kind != 0x88a8 && kind != 0x9100 && kind != 0x9200 || len(b) < 4 {
			break
		}
		b, kind = b[4:], be.Uint16(b[2:])
	}
	if kind != 0x0800 && kind != 0x86dd {
		return nil
	}
	return b
}

// datagram4 reads an IPv4 header (RFC 791) of at least 20 octets.
func datagram4(b []byte) (g udp.Datagram, port uint16, loss int) {
	header, length := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	switch {
	case header < 20 || length < header || b[9] != traffic.ProtoUDP:
		return g, 0, int(LossNotUDP)
	case be.Uint16(b[6:])&0x3fff != 0:
		return g, 0, int(LossFragment)
	case len(b) < length:
		return g, 0, int(LossCutFrame)
	}
	return transport(b[header:length], netip.AddrFrom4([4]byte(b[12:16])))
}

// datagram6 reads an IPv6 header (RFC 8200) of 40 octets. Exporters put no
// extension headers before UDP but that of fragments.
func datagram6(b []byte) (g udp.Datagram, port uint16, loss int) {
	length := 40 + int(be.Uint16(b[4:]))
	switch {
	case b[6] == 44:
		return g, 0, int(LossFragment)
	case b[6] != traffic.ProtoUDP:
		return g, 0, int(LossNotUDP)
	case len(b) < length:
		return g, 0, int(LossCutFrame)
	}
	return transport(b[40:length], netip.AddrFrom16([16]byte(b[8:24])).Unmap())
}

// transport reads a UDP header (RFC 768).
func transport(b []byte, from netip.Addr) (g udp.Datagram, port uint16, loss int) {
	if len(b) < 8 {
		return g, 0, int(LossNotUDP)
	}
	length := int(be.Uint16(b[4:]))
	if length < 8 {
		return g, 0, int(LossNotUDP)
	}
	if len(b) < length {
		return g, 0, int(LossCutFrame)
	}
	return udp.Datagram{Data: b[8:length:length], From: netip.AddrPortFrom(from, be.Uint16(b))}, be.Uint16(b[2:]), -1
}

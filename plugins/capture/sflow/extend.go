package main

import (
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// maxVLAN is the largest VLAN number (IEEE 802.1Q); 4095 is reserved.
const maxVLAN = 4094

// extend adds to r what the device knows of a packet's way: VLAN, next hop,
// AS numbers. Data that makes no sense is left out, the packet counts all the
// same.
func (d *decoder) extend(r *traffic.Record, b []byte, kinds uint) {
	f := &d.found
	if kinds&foundSwitch != 0 {
		setVLAN(r, be.Uint32(b[f.vlan.from:]))
	}
	if kinds&foundRouter != 0 {
		if hop, _, ok := address(b[f.router.from:f.router.to], 0); ok {
			setNextHop(r, hop)
		}
	}
	if kinds&foundGateway != 0 {
		if g, _, ok := readGateway(b[f.gateway.from:f.gateway.to], 0, version5); ok {
			g.set(r)
		}
	}
}

// setVLAN takes the VLAN in which the packet came, unless the sampled header
// has told it.
func setVLAN(r *traffic.Record, vlan uint32) {
	if r.VLAN == 0 && vlan <= maxVLAN {
		r.VLAN = uint16(vlan)
	}
}

// setNextHop takes the first next hop that is told: the router's before that
// of BGP.
func setNextHop(r *traffic.Record, hop netip.Addr) {
	if hop.IsValid() && r.NextHop == [16]byte{} {
		r.NextHop = hop.As16()
	}
}

// gateway is what BGP says of a packet.
type gateway struct {
	nextHop  netip.Addr
	src, dst uint32 // AS numbers of the origins; 0 unknown, or our own
}

func (g *gateway) set(r *traffic.Record) {
	setNextHop(r, g.nextHop)
	r.SrcAS, r.DstAS = g.src, g.dst
}

// readGateway reads extended gateway data at off up to the end of the AS path
// to the destination, whose last number is the destination's origin. Version
// 5 has the next hop before it, version 2 one plain list for the path.
func readGateway(b []byte, off int, version uint32) (g gateway, end int, ok bool) {
	if version == version5 {
		if g.nextHop, off, ok = address(b, off); !ok {
			return g, 0, false
		}
	}
	if len(b)-off < 16 { // own AS, source's AS, source's peer AS, path
		return g, 0, false
	}
	g.src = be.Uint32(b[off+4:])
	n := be.Uint32(b[off+12:])
	off += 16
	if version == version2 {
		g.dst, off, ok = lastOf(b, off, n)
		return g, off, ok
	}
	for ; n > 0; n-- {
		if len(b)-off < 8 { // kind of segment, numbers
			return g, 0, false
		}
		last, end, ok := lastOf(b, off+8, be.Uint32(b[off+4:]))
		if !ok {
			return g, 0, false
		}
		if end > off+8 {
			g.dst = last
		}
		off = end
	}
	return g, off, true
}

// lastOf returns the last of n numbers at off, 0 if there is none.
func lastOf(b []byte, off int, n uint32) (last uint32, end int, ok bool) {
	if uint64(n)*4 > uint64(len(b)-off) {
		return 0, 0, false
	}
	if n == 0 {
		return 0, off, true
	}
	end = off + int(n)*4
	return be.Uint32(b[end-4:]), end, true
}

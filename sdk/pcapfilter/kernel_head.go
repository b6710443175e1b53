package pcapfilter

import "github.com/fastnetmon-go/fastnetmon/sdk/traffic"

// EtherTypes, and how long what they announce is at least.
const (
	etherHeader = 14
	etherLeast  = 1536 // what is less is a length, and LLC follows
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	ipv4Header  = 20
	ipv6Header  = 40
)

var (
	etherTags = []uint32{0x8100, 0x88a8, 0x9100, 0x9200}
	// etherOnward lead on to IP packets, behind headers that are not read here:
	// MPLS, PPPoE, Ethernet and NSH.
	etherOnward = []uint32{0x8847, 0x8848, 0x8864, 0x6558, 0x894f}
	// extensions are IPv6 extension headers.
	extensions = []uint32{0, 43, 44, 51, 60, 135, 139, 140}
)

// ethernet finds the IP header of an Ethernet frame. The kernel keeps the
// outermost tag beside the frame, mostly.
func (k *kernel) ethernet() {
	kind := k.label()
	tagless := k.label()
	if k.vlan {
		untagged := k.label()
		k.emit(bpfLoad, 0)
		k.emit(bpfStore, memVLAN)
		k.emit(bpfLoadWord, bpfVLANPresent)
		k.when(bpfEqual, 0, untagged, next)
		k.emit(bpfLoadWord, bpfVLANTag)
		k.emit(bpfAnd, 0xfff)
		k.emit(bpfStore, memVLAN)
		k.jump(tagless)
		k.place(untagged)
		k.emit(bpfLoadHalf, 12)
		tag := k.label()
		for _, t := range etherTags {
			k.when(bpfEqual, t, tag, next)
		}
		k.jump(tagless)
		k.place(tag)
		k.emit(bpfLoadHalf, etherHeader)
		k.emit(bpfAnd, 0xfff)
		k.emit(bpfStore, memVLAN)
	}
	k.place(tagless)
	for at := uint32(etherHeader); at <= etherHeader+8; at += 4 { // two tags in the frame
		tag := k.label()
		k.emit(bpfIndex, at)
		k.emit(bpfLoadHalf, at-2)
		for _, t := range etherTags {
			k.when(bpfEqual, t, tag, next)
		}
		k.jump(kind)
		k.place(tag)
	}
	k.jump(k.yes)
	k.place(kind)
	k.emit(bpfStoreX, memIP)
	four, six := k.label(), k.label()
	k.when(bpfEqual, etherIPv4, four, next)
	k.when(bpfEqual, etherIPv6, six, next)
	for _, t := range etherOnward {
		k.when(bpfEqual, t, k.yes, next)
	}
	k.when(bpfAtLeast, etherLeast, k.no, k.yes)
	k.packet(four, six)
}

// raw begins with the IP header.
func (k *kernel) raw() {
	k.emit(bpfLoad, 0)
	k.emit(bpfStore, memVLAN)
	k.emit(bpfStore, memIP)
	k.emit(bpfToX, 0)
	four, six := k.label(), k.label()
	k.emit(bpfLoadByteX, 0)
	k.emit(bpfShiftRight, 4)
	k.when(bpfEqual, 4, four, next)
	k.when(bpfEqual, 6, six, k.yes)
	k.packet(four, six)
}

// packet reads an IP header, which begins at X.
func (k *kernel) packet(four, six label) {
	transport := k.label()
	none := k.label()
	k.place(four)
	k.ipv4(transport, none)
	k.place(six)
	k.ipv6()
	k.place(transport)
	k.transport(none)
	k.place(none)
}

// clear makes M say that there is nothing.
func (k *kernel) clear(family uint32) {
	k.emit(bpfLoad, family)
	k.emit(bpfStore, memFamily)
	k.emit(bpfLoad, 0)
	for _, at := range []uint32{memMarks, memPorts, memFlags, memICMP} {
		k.emit(bpfStore, at)
	}
}

// ipv4 goes on to transport, or to none with a later fragment.
func (k *kernel) ipv4(transport, none label) {
	k.clear(4)
	k.emit(bpfLoadByteX, 9)
	k.emit(bpfStore, memProto)
	k.emit(bpfLoadByteX, 0)
	k.emit(bpfShiftRight, 4)
	k.when(bpfEqual, 4, next, k.yes)
	k.emit(bpfLoadByteX, 0)
	k.emit(bpfAnd, 15)
	k.when(bpfAtLeast, ipv4Header/4, next, k.yes)
	k.emit(bpfShiftLeft, 2)
	k.emit(bpfStore, memRest)
	k.emit(bpfAdd|bpfByX, 0)
	k.emit(bpfStore, memTransport)
	// The length in the header, without the header.
	k.emit(bpfLoadHalfX, 2)
	k.emit(bpfIndexMemory, memRest)
	k.when(bpfAtLeast|bpfByX, 0, next, k.yes) // 0 may be a super-frame's
	k.emit(bpfSubtract|bpfByX, 0)
	k.emit(bpfStore, memRest)
	k.emit(bpfIndexMemory, memIP)
	k.emit(bpfLoadHalfX, 6)
	k.when(bpfAnySet, 0x3fff, next, transport)
	k.emit(bpfAnd, 0x1fff)
	first := k.label()
	k.when(bpfEqual, 0, first, next)
	k.emit(bpfLoad, uint32(traffic.MarkFragment|traffic.MarkLater))
	k.emit(bpfStore, memMarks)
	k.jump(none)
	k.place(first)
	k.emit(bpfLoad, uint32(traffic.MarkFragment))
	k.emit(bpfStore, memMarks)
	k.jump(transport)
}

// ipv6 goes on with what follows.
func (k *kernel) ipv6() {
	k.clear(6)
	k.emit(bpfLoadByteX, 0)
	k.emit(bpfShiftRight, 4)
	k.when(bpfEqual, 6, next, k.yes)
	k.emit(bpfLoadByteX, ipv6Header-1) // the header must be whole
	k.emit(bpfLoadHalfX, 4)
	k.when(bpfEqual, 0, k.yes, next)
	k.emit(bpfStore, memRest)
	k.emit(bpfLoadByteX, 6)
	k.emit(bpfStore, memProto)
	for _, e := range extensions {
		k.when(bpfEqual, e, k.yes, next)
	}
	k.emit(bpfToA, 0)
	k.emit(bpfAdd, ipv6Header)
	k.emit(bpfStore, memTransport)
}

// transport reads what the first octets of the upper protocol hold, if they
// are there.
func (k *kernel) transport(none label) {
	ports, tcp, icmp := k.label(), k.label(), k.label()
	k.emit(bpfLoadMemory, memProto)
	k.when(bpfEqual, uint32(traffic.ProtoTCP), tcp, next)
	k.when(bpfEqual, uint32(traffic.ProtoUDP), ports, next)
	k.when(bpfEqual, uint32(protoSCTP), ports, next)
	k.when(bpfEqual, uint32(traffic.ProtoICMP), icmp, next)
	k.when(bpfEqual, uint32(traffic.ProtoICMPv6), icmp, none)
	k.place(tcp)
	k.whole(14)
	k.emit(bpfLoadByteX, 13)
	k.emit(bpfStore, memFlags)
	k.place(ports)
	k.whole(4)
	k.emit(bpfLoadIndirect, 0)
	k.emit(bpfStore, memPorts)
	k.jump(none)
	k.place(icmp)
	k.whole(2)
	k.emit(bpfLoadHalfX, 0)
	k.emit(bpfStore, memICMP)
}

// whole leaves to Match what has fewer octets behind its IP header, and has X
// point there.
func (k *kernel) whole(octets uint32) {
	k.emit(bpfLoadMemory, memRest)
	k.when(bpfAtLeast, octets, next, k.yes)
	k.emit(bpfIndexMemory, memTransport)
	k.emit(bpfLoadLength, 0)
	k.when(bpfAtLeast|bpfByX, 0, next, k.yes)
	k.emit(bpfSubtract|bpfByX, 0)
	k.when(bpfAtLeast, octets, next, k.yes)
}

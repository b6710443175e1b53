package traffic

import "strconv"

// LinkType says with which header a frame begins: the LINKTYPE_ numbers of
// pcap and pcapng files (tcpdump.org/linktypes.html).
type LinkType uint16

// The link types that the parser reads.
const (
	LinkNull     LinkType = 0   // BSD loopback: address family in the byte order of the capturing host
	LinkEthernet LinkType = 1   // Ethernet II
	LinkPPP      LinkType = 9   // PPP, with or without the HDLC-like address and control octets (RFC 1662)
	LinkRawBSD   LinkType = 12  // DLT_RAW of most systems, as some programs write it into files
	LinkRawOBSD  LinkType = 14  // DLT_RAW of OpenBSD, likewise
	LinkRaw      LinkType = 101 // IPv4 or IPv6, told by the version nibble
	LinkLoop     LinkType = 108 // OpenBSD loopback: address family in network order
	LinkSLL      LinkType = 113 // Linux cooked capture
	LinkMPLS     LinkType = 219 // MPLS label stack
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux cooked capture v2
)

// Supported reports whether Frame reads this link type.
func (l LinkType) Supported() bool { return l.name() != "" }

// String returns the name without the prefix LINKTYPE_, or the number.
func (l LinkType) String() string {
	if n := l.name(); n != "" {
		return n
	}
	return strconv.Itoa(int(l))
}

func (l LinkType) name() string {
	switch l {
	case LinkNull:
		return "NULL"
	case LinkEthernet:
		return "ETHERNET"
	case LinkPPP:
		return "PPP"
	case LinkRaw, LinkRawBSD, LinkRawOBSD:
		return "RAW"
	case LinkLoop:
		return "LOOP"
	case LinkSLL:
		return "LINUX_SLL"
	case LinkMPLS:
		return "MPLS"
	case LinkIPv4:
		return "IPV4"
	case LinkIPv6:
		return "IPV6"
	case LinkSLL2:
		return "LINUX_SLL2"
	}
	return ""
}

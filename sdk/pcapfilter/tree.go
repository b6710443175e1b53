package pcapfilter

import "net/netip"

// node is a part of a parsed expression: one of the types below.
type node interface{}

type (
	both   struct{ l, r node }
	either struct{ l, r node }
	not    struct{ x node }
	// familyTest holds for IPv4 (v4) or IPv6 (v6).
	familyTest struct{ family uint8 }
	// protoTest holds for a protocol in some families.
	protoTest struct {
		number   uint8
		families uint8
	}
	// netTest holds where source, destination or one of them lies in prefix.
	netTest struct {
		dir    direction
		prefix netip.Prefix
	}
	// portTest holds where a port, of a protocol that has such, lies in lo … hi.
	portTest struct {
		dir    direction
		lo, hi uint16
		protos transports
	}
	// vlanTest holds for a VLAN, 0 for any.
	vlanTest struct{ id uint16 }
	// relation compares two values; it does not hold where one of them does not
	// exist, as tcp[13] of a UDP packet.
	relation struct {
		op   string // < > <= >= = !=
		l, r value
	}
	// fragmentTest is what becomes of ip[6:2] & 0x1fff or 0x3fff compared with
	// 0: of a fragment's offset a record knows only whether there is one.
	fragmentTest struct{ later, want bool }
)

// transports are protocols that have ports, a bit each.
type transports uint8

const (
	overTCP transports = 1 << iota
	overUDP
	overSCTP
)

// value is a number in an expression: one of the types below.
type value interface{}

type (
	constant uint32
	// load is a field of a record.
	load struct {
		field  field
		offset uint8 // of an address: its first octet
		size   uint8
		proto  header // in which it lies
	}
	// binaryOf combines two values as unsigned numbers of 32 bits.
	binaryOf struct {
		op   string
		l, r value
	}
	// fragmentField is ip[6:2], which only makes sense in a fragmentTest.
	fragmentField struct{ at, len int }
)

// field is what a load reads.
type field uint8

const (
	fieldLength field = iota
	fieldTTL
	fieldToS
	fieldProtocol
	fieldSource
	fieldDestination
	fieldPorts // both, as the first four octets of the header
	fieldFlags
	fieldICMP // type and code
)

// header is where a field lies.
type header uint8

// The headers; 0 stands for none.
var headerNames = [...]string{"", "ip", "ip6", "tcp", "udp", "sctp", "icmp", "icmp6"}

func (h header) String() string { return headerNames[h] }

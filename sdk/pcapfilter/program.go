package pcapfilter

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Program is a compiled expression: a graph of tests. It never changes and may
// be used by any number of goroutines.
type Program struct {
	code  []instruction
	start int32
	nets  []network
	pairs [][2]value // of opCompare
}

// Where a test leads: an instruction, or one of these.
const (
	accept int32 = -1
	reject int32 = -2
)

type opcode uint8

const (
	opIPv4 opcode = iota
	opIPv6
	opProto           // a: protocol
	opSource          // a: index of the network
	opDestination     // a
	opAddress         // a: source or destination
	opSourcePort      // a … a+b, over: protocols
	opDestinationPort // the same
	opPort            // the same
	opMarks           // a: any of them
	opVLAN            // a
	opTagged          // any VLAN
	opFlags           // a: mask, b: value
	opField           // field & a compared with b
	opCompare         // a: index of the pair
)

// instruction is one test: yes and no are where it leads.
type instruction struct {
	op      opcode
	compare comparison
	over    transports
	field   load
	yes, no int32
	a, b    uint32
}

// network is a prefix as records have addresses.
type network struct{ hi, lo, maskHi, maskLo uint64 }

func (n *network) holds(a *[16]byte) bool {
	return (binary.BigEndian.Uint64(a[:8])^n.hi)&n.maskHi|(binary.BigEndian.Uint64(a[8:])^n.lo)&n.maskLo == 0
}

// ported says of which kind a protocol with ports is.
var ported = [256]transports{traffic.ProtoTCP: overTCP, traffic.ProtoUDP: overUDP, protoSCTP: overSCTP}

// Match reports whether the expression holds for a record.
func (p *Program) Match(r *traffic.Record) bool {
	at := p.start
	for at >= 0 {
		in := &p.code[at]
		ok := false
		switch in.op {
		case opIPv4:
			ok = !r.IsIPv6()
		case opIPv6:
			ok = r.IsIPv6()
		case opProto:
			ok = uint32(r.Protocol) == in.a
		case opSource:
			ok = p.nets[in.a].holds(&r.Src)
		case opDestination:
			ok = p.nets[in.a].holds(&r.Dst)
		case opAddress:
			ok = p.nets[in.a].holds(&r.Src) || p.nets[in.a].holds(&r.Dst)
		case opSourcePort:
			ok = uint32(r.SrcPort)-in.a <= in.b && in.hasPorts(r)
		case opDestinationPort:
			ok = uint32(r.DstPort)-in.a <= in.b && in.hasPorts(r)
		case opPort:
			ok = (uint32(r.SrcPort)-in.a <= in.b || uint32(r.DstPort)-in.a <= in.b) && in.hasPorts(r)
		case opMarks:
			ok = uint32(r.Marks)&in.a != 0
		case opVLAN:
			ok = uint32(r.VLAN) == in.a
		case opTagged:
			ok = r.VLAN != 0
		case opFlags:
			ok = uint32(r.TCPFlags)&in.a == in.b
		case opField:
			ok = in.compare.holds(in.field.of(r)&in.a, in.b)
		case opCompare:
			pair := &p.pairs[in.a]
			ok = in.compare.holds(eval(pair[0], r), eval(pair[1], r))
		}
		if ok {
			at = in.yes
		} else {
			at = in.no
		}
	}
	return at == accept
}

// hasPorts holds for protocols that are meant, but for later fragments, which
// have no ports.
func (in *instruction) hasPorts(r *traffic.Record) bool {
	return ported[r.Protocol]&in.over != 0 && r.Marks&traffic.MarkLater == 0
}

// comparison says for which orders of two numbers it holds: a bit each for
// less, equal and more.
type comparison uint8

var comparisons = map[string]comparison{"<": 1, "=": 2, "<=": 3, ">": 4, "!=": 5, ">=": 6}

func (c comparison) holds(a, b uint32) bool {
	switch {
	case a < b:
		return c&1 != 0
	case a == b:
		return c&2 != 0
	}
	return c&4 != 0
}

// eval is the value of an expression for a record.
func eval(v value, r *traffic.Record) uint32 {
	switch v := v.(type) {
	case constant:
		return uint32(v)
	case binaryOf:
		return apply(v.op, eval(v.l, r), eval(v.r, r))
	case load:
		return v.of(r)
	}
	return 0
}

func (l load) of(r *traffic.Record) uint32 {
	switch l.field {
	case fieldLength:
		n := r.Bytes
		if r.Packets != 1 {
			n /= max(r.Packets, 1)
		}
		return uint32(min(n, 1<<32-1))
	case fieldTTL:
		return uint32(r.TTL)
	case fieldToS:
		return uint32(r.ToS)
	case fieldProtocol:
		return uint32(r.Protocol)
	case fieldFlags:
		return uint32(r.TCPFlags)
	case fieldSource:
		return octets(r.Src[:], l)
	case fieldDestination:
		return octets(r.Dst[:], l)
	case fieldICMP:
		return octets([]byte{r.ICMPType, r.ICMPCode}, l)
	}
	ports := uint32(r.SrcPort)<<16 | uint32(r.DstPort)
	return bits.RotateLeft32(ports, 8*int(l.offset+l.size)) & (1<<(8*l.size) - 1)
}

func octets(b []byte, l load) (n uint32) {
	for _, o := range b[l.offset : l.offset+l.size] {
		n = n<<8 | uint32(o)
	}
	return n
}

// mapped is the first address of IPv4 as records write it.
var mapped = netip.AddrFrom16(netip.IPv4Unspecified().As16())

package pcapfilter

import (
	"encoding/binary"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Compile makes a program of an expression; the empty one holds always. The
// error is an *Error.
func Compile(expression string) (*Program, error) {
	n, err := parse(expression)
	if err != nil {
		return nil, err
	}
	p := &Program{start: accept}
	if n != nil {
		p.start = (*compiler)(p).node(n, accept, reject)
	}
	return p, nil
}

// compiler adds to a program from its end to its beginning: what a test leads
// to is there before it.
type compiler Program

func (c *compiler) emit(i instruction, yes, no int32) int32 {
	i.yes, i.no = yes, no
	c.code = append(c.code, i)
	return int32(len(c.code) - 1)
}

// node compiles what leads to yes or no and returns where it begins.
func (c *compiler) node(n node, yes, no int32) int32 {
	switch n := n.(type) {
	case both:
		return c.node(n.l, c.node(n.r, yes, no), no)
	case either:
		return c.node(n.l, yes, c.node(n.r, yes, no))
	case not:
		return c.node(n.x, no, yes)
	case familyTest:
		return c.family(n.family, yes, no)
	case protoTest:
		return c.proto(n.number, n.families, yes, no)
	case netTest:
		return c.net(n, yes, no)
	case portTest:
		op := map[direction]opcode{src: opSourcePort, dst: opDestinationPort, srcOrDst: opPort}[n.dir]
		return c.emit(instruction{op: op, over: n.protos, a: uint32(n.lo), b: uint32(n.hi - n.lo)}, yes, no)
	case vlanTest:
		if n.id == 0 {
			return c.emit(instruction{op: opTagged}, yes, no)
		}
		return c.emit(instruction{op: opVLAN, a: uint32(n.id)}, yes, no)
	case fragmentTest:
		return c.fragment(n, yes, no)
	case relation:
		return c.relation(n, yes, no)
	}
	return no
}

func (c *compiler) family(f uint8, yes, no int32) int32 {
	switch f {
	case v4:
		return c.emit(instruction{op: opIPv4}, yes, no)
	case v6:
		return c.emit(instruction{op: opIPv6}, yes, no)
	}
	return yes
}

func (c *compiler) proto(number, families uint8, yes, no int32) int32 {
	return c.emit(instruction{op: opProto, a: uint32(number)}, c.family(families, yes, no), no)
}

func (c *compiler) net(n netTest, yes, no int32) int32 {
	var k network
	a, length := n.prefix.Addr().As16(), n.prefix.Bits()
	if n.prefix.Addr().Is4() {
		length += 96
	}
	// Shifts by 64 and more give 0 in Go.
	k.maskHi = ^(^uint64(0) >> length)
	if length > 64 {
		k.maskLo = ^(^uint64(0) >> (length - 64))
	}
	k.hi, k.lo = binary.BigEndian.Uint64(a[:8])&k.maskHi, binary.BigEndian.Uint64(a[8:])&k.maskLo
	at := slices.Index(c.nets, k)
	if at < 0 {
		at = len(c.nets)
		c.nets = append(c.nets, k)
	}
	op := map[direction]opcode{src: opSource, dst: opDestination, srcOrDst: opAddress}[n.dir]
	start := c.emit(instruction{op: op, a: uint32(at)}, yes, no)
	if n.prefix.Addr().Is6() && n.prefix.Contains(mapped) {
		return c.family(v6, start, no)
	}
	return start
}

// fragment holds for neither question where the packet is not IPv4.
func (c *compiler) fragment(n fragmentTest, yes, no int32) int32 {
	mark := traffic.MarkFragment
	if n.later {
		mark = traffic.MarkLater
	}
	set, clear := yes, no
	if !n.want {
		set, clear = no, yes
	}
	return c.family(v4, c.emit(instruction{op: opMarks, a: uint32(mark)}, set, clear), no)
}

// whole leads to yes for what is no later fragment.
func (c *compiler) whole(yes, no int32) int32 {
	return c.emit(instruction{op: opMarks, a: uint32(traffic.MarkLater)}, no, yes)
}

// relation compiles a comparison behind tests for the headers it reads.
func (c *compiler) relation(n relation, yes, no int32) int32 {
	at := c.compare(n, yes, no)
	names := slices.Compact(slices.Sorted(slices.Values(append(headers(n.l), headers(n.r)...))))
	for _, name := range names {
		switch name {
		case "":
		case "ip":
			at = c.family(v4, at, no)
		case "ip6":
			at = c.family(v6, at, no)
		default:
			of := protocols[name]
			at = c.proto(of.number, of.families, c.whole(at, no), no)
		}
	}
	return at
}

// headers lists those that a value needs.
func headers(v value) []string {
	switch v := v.(type) {
	case load:
		return []string{v.proto.String()}
	case binaryOf:
		return append(headers(v.l), headers(v.r)...)
	}
	return nil
}

// compare makes the usual comparisons, of a field with a number, one
// instruction.
func (c *compiler) compare(n relation, yes, no int32) int32 {
	of, mask, want, ok := fieldTest(n)
	switch {
	case ok && of.field == fieldFlags && n.op == "=":
		return c.emit(instruction{op: opFlags, a: mask, b: want}, yes, no)
	case ok && of.field == fieldFlags && n.op == "!=":
		return c.emit(instruction{op: opFlags, a: mask, b: want}, no, yes)
	case ok:
		return c.emit(instruction{op: opField, compare: comparisons[n.op], field: of, a: mask, b: want}, yes, no)
	}
	c.pairs = append(c.pairs, [2]value{n.l, n.r})
	return c.emit(instruction{op: opCompare, compare: comparisons[n.op], a: uint32(len(c.pairs) - 1)}, yes, no)
}

// fieldTest recognises a field, perhaps masked, compared with a number.
func fieldTest(n relation) (of load, mask, want uint32, ok bool) {
	w, fixed := n.r.(constant)
	l, mask := n.l, ^uint32(0)
	if b, ok := l.(binaryOf); ok && b.op == "&" {
		m, maskFixed := b.r.(constant)
		l, mask, fixed = b.l, uint32(m), fixed && maskFixed
	}
	of, isLoad := l.(load)
	return of, mask, uint32(w), fixed && isLoad
}

package pcapfilter

import (
	"fmt"
	"slices"
	"strings"
)

// relation is two values and a comparison.
func (p *parser) relation() (node, *Error) {
	start := p.peek()
	l, err := p.sum(0)
	if err != nil {
		return nil, err
	}
	op := p.take()
	if !op.is("<", ">", "<=", ">=", "=", "==", "!=") {
		return nil, p.unexpected(op, "A value must be compared, as in tcp[tcpflags] & tcp-syn != 0.")
	}
	r, err := p.sum(0)
	if err != nil {
		return nil, err
	}
	if at, ok := fragmentIn(l); ok {
		return p.fragment(at, l, op, r)
	}
	if at, ok := fragmentIn(r); ok {
		return p.fragment(at, nil, op, nil)
	}
	last := p.tokens[p.pos-1]
	if _, fixed := l.(constant); fixed {
		if _, too := r.(constant); too {
			return nil, p.err(token{at: start.at, len: last.at + last.len - start.at}, "nothing of a record is compared", "Both sides are numbers.")
		}
	}
	return relation{strings.Replace(op.text, "==", "=", 1), l, r}, nil
}

// fragmentIn finds ip[6:2] in a value.
func fragmentIn(v value) (fragmentField, bool) {
	switch v := v.(type) {
	case fragmentField:
		return v, true
	case binaryOf:
		if at, ok := fragmentIn(v.l); ok {
			return at, true
		}
		return fragmentIn(v.r)
	}
	return fragmentField{}, false
}

// fragment takes the two questions about ip[6:2] that a record can answer.
func (p *parser) fragment(at fragmentField, l value, op token, r value) (node, *Error) {
	b, masked := l.(binaryOf)
	if masked && b.op == "&" && r == value(constant(0)) && op.is("=", "==", "!=", ">") {
		m, fixed := b.r.(constant)
		if !fixed {
			m, fixed = b.l.(constant)
		}
		if fixed && (m == 0x1fff || m == 0x3fff) {
			return fragmentTest{later: m == 0x1fff, want: !op.is("=", "==")}, nil
		}
	}
	return nil, p.err(token{at: at.at, len: at.len}, "a record does not hold fragment offsets",
		"It knows whether a packet is a fragment: ip[6:2] & 0x3fff != 0, and whether it is a later one: ip[6:2] & 0x1fff != 0.")
}

// ranks of the operators, as in tcpdump. There ^ and % have none, so that they
// take all that follows them: beside others they need brackets here.
var ranks = map[string]int{"|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5, "/": 5}

// sum reads operators of at least a rank, from the left.
func (p *parser) sum(rank int) (value, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	l, err := p.factor()
	if op := p.peek(); err == nil && op.is("^", "%") {
		return p.unranked(op, l, rank)
	}
	for err == nil {
		op := p.peek()
		r := ranks[op.text]
		if op.is("^", "%") {
			return p.unranked(op, l, 1)
		}
		if op.kind != punct || r == 0 || r <= rank {
			break
		}
		p.take()
		var right value
		if right, err = p.sum(r); err == nil {
			l, err = p.combine(op, l, right)
		}
	}
	return l, err
}

// unranked is ^ or % with one operand on each side.
func (p *parser) unranked(op token, l value, rank int) (value, *Error) {
	p.take()
	r, err := p.factor()
	if err != nil {
		return nil, err
	}
	if next := p.peek(); rank > 0 || ranks[next.text] > 0 || next.is("^", "%") {
		return nil, p.err(op, fmt.Sprintf("%s beside other operators", op.text), "Put it and its two operands in brackets: programs do not agree on what it takes.")
	}
	return p.combine(op, l, r)
}

func (p *parser) combine(op token, l, r value) (value, *Error) {
	a, leftFixed := l.(constant)
	b, rightFixed := r.(constant)
	switch {
	case op.is("/", "%") && (!rightFixed || b == 0):
		return nil, p.err(op, "a division by what may be 0", "Divide by a number.")
	case op.is("<<", ">>") && (!rightFixed || b > 31):
		return nil, p.err(op, "a shift by what may be more than 31 bits", "Shift by a number from 0 to 31.")
	case leftFixed && rightFixed:
		return constant(apply(op.text, uint32(a), uint32(b))), nil
	}
	return binaryOf{op.text, l, r}, nil
}

// apply is arithmetic of unsigned 32-bit numbers. Divisors are not 0.
func apply(op string, a, b uint32) uint32 {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "%":
		return a % b
	case "&":
		return a & b
	case "|":
		return a | b
	case "^":
		return a ^ b
	case "<<":
		return a << b
	}
	return a >> b
}

func (p *parser) factor() (value, *Error) {
	t := p.take()
	c, named := constants[t.text]
	switch {
	case t.is("-"):
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.leave()
		x, err := p.factor()
		if err != nil {
			return nil, err
		}
		return p.combine(token{kind: punct, text: "-"}, constant(0), x)
	case t.is("("):
		x, err := p.sum(0)
		if err != nil {
			return nil, err
		}
		if end := p.take(); !end.is(")") {
			return nil, p.unexpected(end, "Write an operator or ).")
		}
		return x, nil
	case t.is("len", "length"):
		return load{field: fieldLength, size: 4}, nil
	case t.kind == number:
		return constant(t.value), nil
	case t.kind == word && named && !t.escaped:
		return constant(c), nil
	case t.kind == word && p.peek().is("["):
		return p.header(t)
	}
	return nil, p.unexpected(t, "A number, len or a field such as tcp[13] must stand here.")
}

// header is proto[offset] or proto[offset:size].
func (p *parser) header(proto token) (value, *Error) {
	p.take()
	offset, err := p.fixed()
	if err != nil {
		return nil, err
	}
	size := constant(1)
	if p.peek().is(":") {
		p.take()
		t := p.peek()
		if size, err = p.fixed(); err != nil {
			return nil, err
		}
		if size != 1 && size != 2 && size != 4 {
			return nil, p.err(t, fmt.Sprintf("a field of %d octets", size), "One, two or four can be read.")
		}
	}
	last := p.take()
	if !last.is("]") {
		return nil, p.unexpected(last, "Write ] behind the field.")
	}
	whole := token{at: proto.at, len: last.at + last.len - proto.at}
	if proto.text == "ip" && offset == 6 && size == 2 {
		return fragmentField{whole.at, whole.len}, nil
	}
	l, ok := fieldOf(proto.text, uint32(offset), uint8(size))
	if !ok {
		explanation := fmt.Sprintf("Of %s a record has %s.", proto.text, readable[proto.text])
		if readable[proto.text] == "" {
			explanation = "Fields of ip, ip6, tcp, udp, sctp, icmp and icmp6 can be read, as far as a record has them."
		}
		return nil, p.err(whole, "a record does not hold this field", "%s", explanation)
	}
	return l, nil
}

// fixed reads a number that is the same for every record.
func (p *parser) fixed() (constant, *Error) {
	t := p.peek()
	v, err := p.sum(0)
	if err != nil {
		return 0, err
	}
	c, ok := v.(constant)
	if !ok {
		return 0, p.err(t, "an offset that depends on the packet", "A record holds no headers: write a number.")
	}
	return c, nil
}

// readable tells people what can be read of each header.
var readable = map[string]string{
	"ip":   "ip[1] (type of service), ip[2:2] (length), ip[6:2] (fragments, compared with 0), ip[8] (TTL), ip[9] (protocol) and the addresses, ip[12:4] and ip[16:4]",
	"ip6":  "ip6[7] (hop limit) and the addresses, ip6[8:4] … ip6[36:4]",
	"tcp":  "the ports, tcp[0:2] and tcp[2:2], and the flags, tcp[13]",
	"udp":  "the ports, udp[0:2] and udp[2:2]",
	"sctp": "the ports, sctp[0:2] and sctp[2:2]",
	"icmp": "type and code, icmp[0] and icmp[1]", "icmp6": "type and code, icmp6[0] and icmp6[1]",
}

// fieldOf finds what a record has of a header.
func fieldOf(proto string, offset uint32, size uint8) (load, bool) {
	last := offset + uint32(size)
	l := load{size: size, proto: header(max(0, slices.Index(headerNames[:], proto)))}
	within := func(first, end uint32, f field) bool {
		if offset < first || last > end || last < offset {
			return false
		}
		l.field, l.offset = f, uint8(offset-first)
		return true
	}
	switch proto {
	case "ip":
		l.offset = 0
		for _, f := range []struct {
			first, size uint32
			field       field
		}{{1, 1, fieldToS}, {2, 2, fieldLength}, {8, 1, fieldTTL}, {9, 1, fieldProtocol}} {
			if offset == f.first && uint32(size) == f.size {
				l.field = f.field
				return l, true
			}
		}
		if within(12, 16, fieldSource) || within(16, 20, fieldDestination) {
			l.offset += 12
			return l, true
		}
	case "ip6":
		if offset == 7 && size == 1 {
			l.field = fieldTTL
			return l, true
		}
		return l, within(8, 24, fieldSource) || within(24, 40, fieldDestination)
	case "tcp", "udp", "sctp":
		if proto == "tcp" && offset == 13 && size == 1 {
			l.field = fieldFlags
			return l, true
		}
		return l, within(0, 4, fieldPorts)
	case "icmp", "icmp6":
		return l, within(0, 2, fieldICMP)
	}
	return l, false
}

package pcapfilter

import (
	"fmt"
	"slices"
	"strings"
)

// parser reads the grammar of pcap-filter(7): and and or have the same rank
// and group from the left, not binds closest, and an address or number without a
// keyword takes those of the one before it.
type parser struct {
	src    string
	tokens []token
	pos    int
	depth  int
	last   *qualifier // nil: nothing to take over
}

// qualifier is what stands before an address, number or name.
type qualifier struct {
	proto string // "", ip, ip6, tcp …
	dir   direction
	what  string // "", host, net, port, portrange, proto
	at    int    // of proto
	len   int
}

type direction uint8

const (
	srcOrDst direction = iota
	src
	dst
	srcAndDst
)

// parse makes the tree of an expression; nil for an empty one, which holds
// always.
func parse(text string) (node, *Error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{src: text, tokens: tokens}
	if p.peek().kind == end {
		return nil, nil
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, p.unexpected(t, "Write and or or between two conditions.")
	}
	return n, nil
}

func (p *parser) peek() token        { return p.tokens[p.pos] }
func (p *parser) peekAt(i int) token { return p.tokens[min(p.pos+i, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.tokens[p.pos]
	if t.kind != end {
		p.pos++
	}
	return t
}

// is tells whether a token is one of some words or operators.
func (t token) is(texts ...string) bool {
	return (t.kind == word && !t.escaped || t.kind == punct) && slices.Contains(texts, t.text)
}

func (p *parser) err(t token, summary, explanation string, args ...any) *Error {
	return &Error{p.src, t.at, t.len, summary, fmt.Sprintf(explanation, args...)}
}

func (p *parser) unexpected(t token, explanation string) *Error {
	if t.kind == end {
		return p.err(t, "the expression ends too early", "%s", explanation)
	}
	text := p.src[t.at : t.at+t.len]
	if what, absent := missing[t.text]; absent && t.kind == word {
		return p.err(t, fmt.Sprintf("%q cannot be answered", text), "A record holds no %s.", strings.TrimPrefix(what, "no "))
	}
	if t.kind == word && !isKeyword(t.text) {
		if meant := nearest(t.text); meant != "" {
			explanation = fmt.Sprintf("Did you mean %q?", meant)
		}
	}
	return p.err(t, fmt.Sprintf("%q cannot stand here", text), "%s", explanation)
}

// enter bounds how deep brackets and negations nest.
func (p *parser) enter() *Error {
	if p.depth++; p.depth > maxDepth {
		return p.err(p.peek(), "nested too deep", "An expression may nest %d deep.", maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) expression() (node, *Error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		if !t.is("and", "&&", "or", "||") {
			return left, nil
		}
		p.take()
		right, err := p.operand()
		if err != nil {
			return nil, err
		}
		if t.is("and", "&&") {
			left = both{left, right}
		} else {
			left = either{left, right}
		}
	}
}

// operand is a term, or an identifier that takes over the qualifiers before it.
func (p *parser) operand() (node, *Error) {
	if p.last != nil && p.startsIdentifier(0) {
		return p.identifier(*p.last)
	}
	return p.term()
}

// startsIdentifier tells whether an address, number or name without a keyword
// follows, perhaps behind brackets and negations.
func (p *parser) startsIdentifier(i int) bool {
	for p.peekAt(i).is("(", "not", "!") {
		if t := p.peekAt(i); t.is("(") && isArithmetic(p.tokens[t.match+1]) {
			return false
		}
		i++
	}
	t, next := p.peekAt(i), p.peekAt(i+1)
	switch {
	case isArithmetic(next) && (!next.is("/") || t.kind != addr):
		return false
	case t.kind == number, t.kind == addr:
		return true
	}
	_, named := constants[t.text]
	return t.kind == word && (t.escaped || !isKeyword(t.text) && !named)
}

// isArithmetic tells of an operator that only numbers have.
func isArithmetic(t token) bool {
	return t.is("<", ">", "<=", ">=", "=", "==", "!=", "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
}

func (p *parser) term() (node, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := p.peek()
	switch {
	case t.is("not", "!"):
		p.take()
		x, err := p.operand()
		return not{x}, err
	case p.startsRelation(t):
		p.last = nil
		return p.relation()
	case t.is("("):
		p.take()
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		if end := p.take(); !end.is(")") {
			return nil, p.unexpected(end, "Write and or or between two conditions.")
		}
		return x, nil
	case t.is("less", "greater"):
		return p.size()
	case t.is("vlan"):
		return p.vlan()
	}
	return p.head()
}

func (p *parser) startsRelation(t token) bool {
	next := p.peekAt(1)
	_, named := constants[t.text]
	switch {
	case t.is("("):
		return isArithmetic(p.tokens[t.match+1])
	case t.is("-", "len", "length"):
		return true
	case t.kind == number || t.kind == word && named && !t.escaped:
		return isArithmetic(next)
	}
	return t.kind == word && !t.escaped && next.is("[")
}

// size is less or greater with a number, which mean at most and at least.
func (p *parser) size() (node, *Error) {
	t, n := p.take(), p.take()
	p.last = nil
	if n.kind != number {
		return nil, p.unexpected(n, "A number of octets must follow "+t.text+".")
	}
	op := map[string]string{"less": "<=", "greater": ">="}[t.text]
	return relation{op, load{field: fieldLength, size: 4}, constant(n.value)}, nil
}

func (p *parser) vlan() (node, *Error) {
	p.take()
	p.last = nil
	if t := p.peek(); t.kind == number && !isArithmetic(p.peekAt(1)) {
		p.take()
		if t.value == 0 || t.value > 4095 {
			return nil, p.err(t, "no number of a VLAN", "VLANs have the numbers 1 to 4095; a record with none, or with 0, says that it has no VLAN.")
		}
		return vlanTest{uint16(t.value)}, nil
	}
	return vlanTest{}, nil
}

// head is a protocol by itself, or qualifiers and what they are about.
func (p *parser) head() (node, *Error) {
	first := p.peek()
	q := qualifier{at: first.at, len: first.len}
	if _, named := protocols[first.text]; first.kind == word && !first.escaped && (named || first.is("ip", "ip6")) {
		q.proto = p.take().text
		if p.peek().is("multicast") {
			p.take()
			return p.multicast(q)
		}
	}
	directed := p.direction(&q)
	if t := p.peek(); t.is("host", "net", "port", "portrange", "proto") {
		q.what = p.take().text
	} else if !directed {
		if q.proto == "" {
			if first.kind == number || first.kind == addr {
				return nil, p.err(first, fmt.Sprintf("%q has no keyword", p.src[first.at:first.at+first.len]), "Write host, net, port or another keyword before it.")
			}
			return nil, p.unexpected(first, "Write a condition, such as host 198.51.100.1, port 53 or udp.")
		}
		p.last = nil
		return alone(q.proto), nil
	}
	n, err := p.identifier(q)
	p.last = &q
	return n, err
}

func (p *parser) direction(q *qualifier) bool {
	t := p.peek()
	if !t.is("src", "dst") {
		return false
	}
	p.take()
	q.dir = map[string]direction{"src": src, "dst": dst}[t.text]
	if op, other := p.peek(), p.peekAt(1); op.is("and", "&&", "or", "||") && other.is("src", "dst") && other.text != t.text {
		p.take()
		p.take()
		q.dir = srcOrDst
		if op.is("and", "&&") {
			q.dir = srcAndDst
		}
	}
	return true
}

// alone is a protocol or family by itself.
func alone(name string) node {
	switch name {
	case "ip":
		return familyTest{v4}
	case "ip6":
		return familyTest{v6}
	}
	return protoTest(protocols[name])
}

// identifier is what qualifiers are about: one thing, or several in brackets.
func (p *parser) identifier(q qualifier) (node, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch t := p.peek(); {
	case t.is("not", "!"):
		p.take()
		x, err := p.identifier(q)
		return not{x}, err
	case t.is("("):
		p.take()
		left, err := p.identifier(q)
		for err == nil && p.peek().is("and", "&&", "or", "||") {
			op := p.take()
			var right node
			if right, err = p.identifier(q); op.is("and", "&&") {
				left = both{left, right}
			} else {
				left = either{left, right}
			}
		}
		if err != nil {
			return nil, err
		}
		if end := p.take(); !end.is(")") {
			return nil, p.unexpected(end, "Write ) or another address or number.")
		}
		return left, nil
	}
	return p.atom(q)
}

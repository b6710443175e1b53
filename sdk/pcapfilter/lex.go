package pcapfilter

import (
	"strconv"
	"strings"
)

type kind uint8

const (
	end    kind = iota
	word        // a keyword or name
	number      // text and value
	addr        // something with dots or colons
	punct       // an operator or bracket
)

// token is a piece of the expression.
type token struct {
	kind    kind
	text    string // in lower case for words
	value   uint32
	at, len int
	escaped bool // \tcp: a name, never a keyword
	match   int  // of a (: the index of its )
}

// lexer cuts an expression into tokens.
type lexer struct {
	src  string
	pos  int
	out  []token
	open []int // indexes of ( that wait for their )
	deep int   // [ that wait for their ]
}

// operators, the longer ones first.
var operators = []string{"&&", "||", "<<", ">>", "<=", ">=", "!=", "==", "(", ")", "[", "]", ":", "/", "!", "&", "|", "^", "+", "-", "*", "%", "<", ">", "="}

func lex(src string) ([]token, *Error) {
	l := &lexer{src: src}
	if len(src) > maxLength {
		return nil, l.err(0, 0, "too long", "An expression may have "+strconv.Itoa(maxLength)+" octets; filter \"prefix\" takes lists of addresses.")
	}
	for {
		for l.pos < len(src) && strings.IndexByte(" \t\r\n", src[l.pos]) >= 0 {
			l.pos++
		}
		if l.pos == len(src) {
			break
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	if len(l.open) > 0 {
		t := l.out[l.open[len(l.open)-1]]
		return nil, l.err(t.at, 1, "a bracket is not closed", "Write a ) behind what belongs together.")
	}
	return append(l.out, token{kind: end, at: len(src)}), nil
}

func (l *lexer) err(at, n int, summary, explanation string) *Error {
	return &Error{l.src, at, n, summary, explanation}
}

func (l *lexer) next() *Error {
	start := l.pos
	escaped := l.src[start] == '\\'
	if escaped {
		l.pos++
	}
	text := l.src[l.pos : l.pos+l.wordLength()]
	if text == "" {
		if escaped {
			return l.err(start, 1, "a name must follow \\", "")
		}
		return l.operator()
	}
	l.pos += len(text)
	t := token{kind: word, text: strings.ToLower(text), at: start, len: l.pos - start, escaped: escaped}
	switch {
	case escaped:
	case strings.IndexByte("0123456789", text[0]) >= 0 && !strings.ContainsAny(text, ".:"):
		t.kind = number
		// As in C: 0x and 0 tell the base.
		n, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			t.kind = addr // 6000-6008, or a mistake: whoever reads it knows
		}
		t.value = uint32(n)
	case strings.Contains(text, ":"), strings.IndexByte("0123456789", text[0]) >= 0:
		t.kind = addr
	}
	l.out = append(l.out, t)
	return nil
}

// wordLength is how far a name, number or address reaches. Within [ ] a colon
// parts offset and size.
func (l *lexer) wordLength() int {
	n := 0
	for rest := l.src[l.pos:]; n < len(rest); n++ {
		c := rest[n]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '.' && l.deep == 0, c == ':' && l.deep == 0 && (n > 0 || strings.HasPrefix(rest, "::")):
		case c == '-' && n > 0 && (l.deep == 0 || rest[0] > '9'):
		default:
			return n
		}
	}
	return n
}

func (l *lexer) operator() *Error {
	for _, op := range operators {
		if !strings.HasPrefix(l.src[l.pos:], op) {
			continue
		}
		t := token{kind: punct, text: op, at: l.pos, len: len(op)}
		switch op {
		case "(":
			l.open = append(l.open, len(l.out))
		case ")":
			if len(l.open) == 0 {
				return l.err(l.pos, 1, "no bracket is open here", "Remove the ), or write a ( before what belongs together.")
			}
			l.out[l.open[len(l.open)-1]].match = len(l.out)
			l.open = l.open[:len(l.open)-1]
		case "[":
			l.deep++
		case "]":
			l.deep = max(0, l.deep-1)
		}
		l.out = append(l.out, t)
		l.pos += len(op)
		return nil
	}
	n := 1
	for l.pos+n < len(l.src) && l.src[l.pos+n]&0xc0 == 0x80 {
		n++
	}
	return l.err(l.pos, n, "this character means nothing here", "")
}

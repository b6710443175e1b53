// Package pcapfilter compiles filter expressions in the language of tcpdump
// (pcap-filter(7)) and evaluates them over records.
//
// A record is a decoded packet or flow, so an expression means what tcpdump
// means by it on a link without link headers (DLT_RAW): len is the length of the
// IP packet, of a flow record the mean one. It sees more than tcpdump's programs
// do in three places: tcp[…], udp[…] and sctp[…] look at IPv6 too, ports and
// protocols are found behind IPv6 extension headers, and vlan does not move
// what stands behind it. What a record does not hold (link addresses, payload, options) is refused
// by name, with its place in the expression.
package pcapfilter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Limits of an expression.
const (
	maxLength = 64 << 10
	maxDepth  = 200
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Expression  string
	At          int // offset of the fault, in octets
	Len         int // of the fault, in octets; 0 at the end
	Summary     string
	Explanation string // what to do, in sentences; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("column %d: %s", e.Column(), e.Summary)
	if e.Explanation != "" {
		s += ": " + e.Explanation
	}
	return s
}

// Column is where the fault begins, in characters from 1 on.
func (e *Error) Column() int { return len([]rune(e.Expression[:e.At])) + 1 }

// shown is how many characters Marked shows on each side of a fault.
const shown = 40

// Marked is two lines, indented by two blanks: the expression around the
// fault, and marks below it.
func (e *Error) Marked() string {
	flat := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, e.Expression)
	before, fault, after := []rune(flat[:e.At]), []rune(flat[e.At:e.At+e.Len]), []rune(flat[e.At+e.Len:])
	if len(before) > shown {
		before = append([]rune("..."), before[len(before)-shown:]...)
	}
	if len(fault) > 2*shown {
		fault = fault[:2*shown]
	}
	if len(after) > shown {
		after = append(after[:shown:shown], []rune("...")...)
	}
	return "  " + string(before) + string(fault) + string(after) + "\n  " +
		strings.Repeat(" ", len(before)) + strings.Repeat("^", max(1, len(fault)))
}

// Complaint shows what Compile has said of the expression at a place of a
// configuration, with its fault marked.
func Complaint(err error, at diag.Path) diag.Diagnostic {
	var e *Error
	if !errors.As(err, &e) {
		return diag.Errorf(at, "Invalid expression", "%v.", err)
	}
	detail := "Column " + e.Error()[len("column "):] + "\n\n" + e.Marked()
	return diag.Diagnostic{Severity: diag.Error, Summary: "Invalid expression", Detail: detail, Path: at}
}

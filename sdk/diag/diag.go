// Package diag says what is wrong with a configuration and where: a
// diagnostic carries a path of attributes and blocks, which the core resolves
// to a file and a line.
package diag

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Severity tells an error from a warning.
type Severity uint8

// The severities. The zero value counts as an error.
const (
	Error Severity = iota + 1
	Warning
)

func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Diagnostic is one thing to tell the person who wrote the configuration.
type Diagnostic struct {
	Severity Severity
	Summary  string // what, in a few words, without a full stop
	Detail   string // which, why and what to do, in sentences
	Path     Path   // where; empty for the whole block
}

// Errorf makes an error at path. The detail is formatted as by fmt.Sprintf.
func Errorf(path Path, summary, detail string, args ...any) Diagnostic {
	return Diagnostic{Error, summary, fmt.Sprintf(detail, args...), path}
}

// Warningf makes a warning at path. The detail is formatted as by fmt.Sprintf.
func Warningf(path Path, summary, detail string, args ...any) Diagnostic {
	return Diagnostic{Warning, summary, fmt.Sprintf(detail, args...), path}
}

// IsError reports whether the diagnostic forbids the configuration.
func (d Diagnostic) IsError() bool { return d.Severity != Warning }

// Error makes a single diagnostic usable as an error.
func (d Diagnostic) Error() string {
	var b strings.Builder
	if len(d.Path) > 0 {
		b.WriteString(d.Path.String())
		b.WriteString(": ")
	}
	b.WriteString(d.Summary)
	if d.Detail != "" {
		b.WriteString(": ")
		b.WriteString(d.Detail)
	}
	return b.String()
}

// Diagnostics is a list of diagnostics; as an error it says all of them.
type Diagnostics []Diagnostic

// Error joins all diagnostics, one a line.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// HasErrors reports whether one of the diagnostics is an error.
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if d.IsError() {
			return true
		}
	}
	return false
}

// Err returns the list as an error, or nil if it is empty. A list of
// warnings only is returned too: whoever receives it with FromError shows
// them and goes on.
func (ds Diagnostics) Err() error {
	if len(ds) == 0 {
		return nil
	}
	return ds
}

// FromError takes err apart into diagnostics: a Diagnostic, Diagnostics, a
// wrapped or joined one, or, for any other error, a single diagnostic without
// a path that has summary as its summary and the error's text as its detail.
func FromError(err error, summary string) Diagnostics {
	if err == nil {
		return nil
	}
	if ds := find(err); len(ds) > 0 {
		return ds
	}
	return Diagnostics{{Severity: Error, Summary: summary, Detail: err.Error()}}
}

// find collects the diagnostics in err. Of joined errors the ones that are no
// diagnostics are kept as well.
func find(err error) Diagnostics {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here, joined errors too
	case nil:
		return nil
	case Diagnostic:
		return Diagnostics{e}
	case *Diagnostic:
		return Diagnostics{*e}
	case Diagnostics:
		return e
	case interface{ Unwrap() []error }:
		var all Diagnostics
		var plain []error
		for _, part := range e.Unwrap() {
			if ds := find(part); len(ds) > 0 {
				all = append(all, ds...)
			} else if part != nil {
				plain = append(plain, part)
			}
		}
		if len(all) == 0 {
			return nil
		}
		for _, part := range plain {
			all = append(all, Diagnostic{Severity: Error, Summary: part.Error()})
		}
		return all
	}
	return find(errors.Unwrap(err))
}

// Path leads from a plugin's block to an attribute in it, step by step. Each
// method returns a new path and leaves the receiver as it is.
type Path []Step

// Step is one step of a path: exactly one of its fields is meant, as Kind
// says.
type Step struct {
	Kind StepKind
	Name string // StepAttr: attribute or block type; StepKey: key of a map, or a block's label
	N    int    // StepIndex: element of a list, or n-th block of its type, from 0
}

// StepKind is what a step does.
type StepKind uint8

// The kinds of step.
const (
	StepAttr StepKind = iota + 1
	StepIndex
	StepKey
)

// Attr goes to an attribute, or to the nested blocks of one type.
func (p Path) Attr(name string) Path { return p.with(Step{Kind: StepAttr, Name: name}) }

// Index goes to an element of a list, or to the n-th nested block of its
// type, from 0.
func (p Path) Index(n int) Path { return p.with(Step{Kind: StepIndex, N: n}) }

// Key goes to an element of a map, or to the nested block with that label.
func (p Path) Key(key string) Path { return p.with(Step{Kind: StepKey, Name: key}) }

// with never writes into the receiver's spare capacity, which another path
// may share.
func (p Path) with(s Step) Path { return append(p[:len(p):len(p)], s) }

// String writes the path as people would: listen[0], neighbor[1].peer_as,
// announce["edge"].next_hop.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch s.Kind {
		case StepIndex:
			b.WriteString("[" + strconv.Itoa(s.N) + "]")
		case StepKey:
			b.WriteString("[" + strconv.Quote(s.Name) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Name)
		}
	}
	return b.String()
}

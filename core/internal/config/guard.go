package config

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Limits on what a configuration may ask of the loader. The parser and the
// evaluator of HCL recurse, and locals can double each other, so a small file
// could otherwise take the process down.
const (
	maxFileBytes   = 1 << 20  // one *.hcl file
	maxTotalBytes  = 8 << 20  // all files of a directory
	maxListBytes   = 16 << 20 // one file of a network's files
	maxSecretBytes = 64 << 10 // what file() reads
	maxDepth       = 64       // brackets and templates inside each other
	maxOperators   = 1000     // operators, dots and templates in one expression
	maxLocalSize   = 64 << 10 // value of one local
	maxValuesSize  = 32 << 20 // all values evaluated
	maxExponent    = 2000     // of a number, base two
	maxDiagnostics = 100      // shown; the rest is counted
	maxThresholds  = 1 << 16  // over all hostgroups, inherited ones included
)

// guardSyntax refuses sources that would make the parser or the evaluator
// recurse without bound. It reports the first such place.
func guardSyntax(name string, src []byte) hcl.Diagnostics {
	if len(src) > maxFileBytes {
		return hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "File too large",
			Detail: fmt.Sprintf("%s has %d bytes; a configuration file may have %d. Put lists of prefixes into files of their own "+
				"(network: files = [...]), or split the configuration into several files in one directory.", name, len(src), maxFileBytes),
			Subject: &hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos},
		}}
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "Not a text file",
			Detail:   fmt.Sprintf("%s contains a zero byte, so it is not a configuration. Give the name of an HCL file.", name),
			Subject:  rangeAt(name, src, i, i+1),
		}}
	}
	// The scanner's own faults are reported again by the parser.
	tokens, _ := hclsyntax.LexConfig(src, name, hcl.InitialPos)
	open := make([]hclsyntax.TokenType, 0, maxDepth+1)
	ops := make([]int, 1, maxDepth+2) // operators since the expression began, one count per open bracket
	fault := func(t hclsyntax.Token, summary, detail string) hcl.Diagnostics {
		return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: t.Range.Ptr()}}
	}
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			// A chain of brackets, as in a[0][0], nests as deeply as operators do.
			ops[len(ops)-1]++
			open, ops = append(open, t.Type), append(ops, 0)
			if len(open) > maxDepth {
				return fault(t, "Nested too deeply", fmt.Sprintf("Brackets and templates may stand %d deep inside each other.", maxDepth))
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			if len(open) > 0 {
				open, ops = open[:len(open)-1], ops[:len(ops)-1]
			}
		case hclsyntax.TokenNewline:
			if len(open) == 0 || open[len(open)-1] == hclsyntax.TokenOBrace {
				ops[len(ops)-1] = 0
			}
		case hclsyntax.TokenComma:
			// Elements of a list stand beside each other: they do not nest.
			if len(open) > 0 && open[len(open)-1] == hclsyntax.TokenOBrack {
				ops[len(ops)-1] = 0
			}
		case hclsyntax.TokenNumberLit:
			if !saneNumber(t.Bytes) {
				return fault(t, "Number too long", "A number may have 32 digits and an exponent up to 300.")
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenComment, hclsyntax.TokenEqual, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit:
		default:
			ops[len(ops)-1]++
		}
		if ops[len(ops)-1] > maxOperators {
			return fault(t, "Expression too long", fmt.Sprintf("One expression may have %d operators; write the result instead.", maxOperators))
		}
	}
	return nil
}

// saneNumber refuses literals whose decimal form would be huge.
func saneNumber(lit []byte) bool {
	mantissa, exponent := lit, []byte(nil)
	if i := bytes.IndexAny(lit, "eE"); i >= 0 {
		mantissa, exponent = lit[:i], lit[i+1:]
	}
	if len(mantissa) > 33 {
		return false
	}
	if len(exponent) == 0 {
		return true
	}
	n, err := strconv.Atoi(string(exponent))
	return err != nil || n >= -300 && n <= 300 // a malformed exponent is the parser's to report
}

// forbidLoops refuses "for" expressions: they are not part of the language,
// and nested they would run for as long as they like.
func forbidLoops(body *hclsyntax.Body) hcl.Diagnostics {
	return hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
		f, ok := n.(*hclsyntax.ForExpr)
		if !ok {
			return nil
		}
		return hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "Loops are not supported",
			Detail:   "A configuration has no \"for\" expressions. Write the values out.",
			Subject:  f.SrcRange.Ptr(),
		}}
	})
}

// valueSize estimates the memory of v in bytes and stops counting once it is
// beyond limit. Numbers of absurd magnitude count as beyond every limit.
func valueSize(v cty.Value, limit int) int {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return 16
	}
	ty := v.Type()
	switch {
	case ty == cty.String:
		return 16 + len(v.AsString())
	case ty == cty.Number:
		f := v.AsBigFloat()
		if f.IsInf() || f.MantExp(nil) > maxExponent || f.MantExp(nil) < -maxExponent {
			return limit + 1
		}
		return 16
	case ty.IsCollectionType() || ty.IsTupleType() || ty.IsObjectType():
		n := 16
		for it := v.ElementIterator(); it.Next() && n <= limit; {
			key, elem := it.Element()
			n += valueSize(key, limit-n) + valueSize(elem, limit-n)
		}
		return n
	}
	return 16
}

// rangeAt is the range of src[from:to].
func rangeAt(name string, src []byte, from, to int) *hcl.Range {
	pos := func(i int) hcl.Pos {
		i = min(i, len(src))
		line := src[bytes.LastIndexByte(src[:i], '\n')+1 : i]
		return hcl.Pos{Line: 1 + bytes.Count(src[:i], []byte{'\n'}), Column: 1 + len(bytes.Runes(line)), Byte: i}
	}
	return &hcl.Range{Filename: name, Start: pos(from), End: pos(to)}
}

package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Terminal colours.
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	reset  = "\x1b[0m"
)

// maxLines is how many source lines of one fault are shown.
const maxLines = 5

// Render writes diagnostics for people: severity, what, file and line, the
// block, the source with the fault marked, why, and what to do. files are
// those of the Config; text is wrapped to width columns, 0 meaning 78.
func Render(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File, color bool, width int) error {
	if width <= 0 {
		width = 78
	}
	r := renderer{files: files, color: color, width: max(width, 30) - 2}
	for i, d := range diags {
		if i > 0 {
			r.out.WriteByte('\n')
		}
		r.diagnostic(d)
	}
	_, err := w.Write(r.out.Bytes())
	return err
}

type renderer struct {
	files map[string]*hcl.File
	color bool
	width int
	edge  string // colour of the bar at the left
	out   bytes.Buffer
}

func (r *renderer) paint(code, s string) string {
	if !r.color || s == "" {
		return s
	}
	return code + s + reset
}

// line writes one line behind the bar.
func (r *renderer) line(s string) {
	r.out.WriteString(strings.TrimRight(r.paint(r.edge, "│")+" "+s, " ") + "\n")
}

func (r *renderer) diagnostic(d *hcl.Diagnostic) {
	severity := "Error"
	r.edge = red
	if d.Severity == hcl.DiagWarning {
		severity, r.edge = "Warning", yellow
	}
	r.out.WriteString(r.paint(r.edge, "╷") + "\n")
	r.line(r.paint(bold+r.edge, severity+": ") + r.paint(bold, clean(d.Summary)))
	r.line("")
	if d.Subject != nil {
		r.source(*d.Subject)
	}
	for _, paragraph := range strings.Split(d.Detail, "\n") {
		for _, s := range wrap(clean(paragraph), r.width) {
			r.line(s)
		}
	}
	r.out.WriteString(r.paint(r.edge, "╵") + "\n")
}

// source shows where the fault is.
func (r *renderer) source(at hcl.Range) {
	f := r.files[at.Filename]
	where := fmt.Sprintf("  on %s line %d", clean(at.Filename), at.Start.Line)
	if f == nil || at.Start.Byte > len(f.Bytes) {
		r.line(where + ":")
		r.line("")
		return
	}
	if in := blockAt(f, at); in != "" {
		where += ", in " + in
	}
	r.line(where + ":")
	r.snippet(f.Bytes, at)
	r.line("")
}

// snippet shows the source lines of a range with the range marked below.
func (r *renderer) snippet(src []byte, at hcl.Range) {
	start := at.Start.Byte
	end := min(max(at.End.Byte, start), len(src))
	begin := bytes.LastIndexByte(src[:start], '\n') + 1
	for n := 0; begin <= len(src); n++ {
		stop := len(src)
		if i := bytes.IndexByte(src[begin:], '\n'); i >= 0 {
			stop = begin + i
		}
		if n == maxLines {
			r.line("      ...")
			return
		}
		from, to := min(max(start, begin), stop), min(end, stop)
		r.marked(at.Start.Line+n, string(src[begin:from]), string(src[from:max(from, to)]), string(src[max(from, to):stop]), n == 0)
		if begin = stop + 1; begin >= end {
			return
		}
	}
}

// marked shows one line: what stands before the fault, the fault, and what
// stands behind it. A long line is cut on both sides.
func (r *renderer) marked(number int, before, fault, after string, first bool) {
	room := r.width - 7
	pre, mid, post := []rune(plain(before)), []rune(plain(fault)), []rune(strings.TrimRight(plain(after), " "))
	if len(pre)+len(mid)+len(post) > room {
		if len(pre)+len(mid) > room && len(pre) > 20 {
			pre = append([]rune("..."), pre[len(pre)-17:]...)
		}
		if len(pre)+len(mid) > room {
			mid = append(mid[:max(1, room-len(pre)-3)], []rune("...")...)
		}
		if over := len(pre) + len(mid) + len(post) - room; over > 0 {
			post = append(post[:max(0, len(post)-over-3)], []rune("...")...)
		}
	}
	r.line(fmt.Sprintf("%4d: ", number) + string(pre) + r.paint(bold+r.edge, string(mid)) + string(post))
	indent := len(mid) - len([]rune(strings.TrimLeft(string(mid), " ")))
	marks := len(mid) - indent
	if marks <= 0 {
		if !first {
			return // a blank line inside the range
		}
		marks = 1
	}
	r.line(strings.Repeat(" ", 6+len(pre)+indent) + r.paint(r.edge, strings.Repeat("^", marks)))
}

// plain makes source text safe to show: tabs become two blanks, bytes that
// would steer a terminal a replacement.
func plain(s string) string {
	return clean(strings.ReplaceAll(strings.TrimSuffix(s, "\r"), "\t", "  "))
}

// clean replaces what cannot be printed.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// wrap breaks a paragraph into lines of at most width runes. One that begins
// with blanks is an example and stays as it is.
func wrap(s string, width int) []string {
	if strings.HasPrefix(s, " ") {
		return []string{s}
	}
	var out []string
	line, n := "", 0
	for _, word := range strings.Fields(s) {
		w := len([]rune(word))
		if n > 0 && n+1+w > width {
			out = append(out, line)
			line, n = "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+w
	}
	return append(out, line)
}

// blockAt names the blocks around a place: hostgroup "dns", threshold "flood".
func blockAt(f *hcl.File, at hcl.Range) string {
	b, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		return ""
	}
	var names []string
	for found := true; found; {
		found = false
		for _, blk := range b.Blocks {
			if r := blk.Range(); r.Filename == at.Filename && at.Start.Byte >= r.Start.Byte && at.Start.Byte < r.End.Byte {
				names, b, found = append(names, clean(header(blk))), blk.Body, true
				break
			}
		}
	}
	return strings.Join(names, ", ")
}

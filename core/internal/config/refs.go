package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// symbols are the names of one kind that references can use.
type symbols struct {
	names []string       // in order of declaration; plugins as NAME.INSTANCE
	index map[string]any // what they name, once it has been read
}

func newSymbols(names []string) *symbols {
	s := &symbols{names, make(map[string]any, len(names))}
	for _, n := range names {
		s.index[n] = nil
	}
	return s
}

func (s *symbols) has(name string) bool {
	_, ok := s.index[name]
	return ok
}

// builtins are the counters that every host has.
var builtins = []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"}

// pluginKinds are the kinds of block that run a plugin.
var pluginKinds = []string{"capture", "filter", "action", "export"}

// refKind reports whether root begins a reference to a block.
func (l *loader) refKind(root string) bool {
	return has(pluginKinds, root) || has([]string{"network", "hostgroup", "counter", "exemption", "exporter", "pipeline"}, root)
}

// set files a declared thing under its name, for references.
func (l *loader) set(kind, name string, v any) {
	s := l.decl[kind]
	if s.has(name) {
		s.index[name] = v
	}
}

// declare collects the names of all blocks, so that order does not matter.
func (l *loader) declare() {
	for _, kind := range []string{"network", "hostgroup", "counter", "exporter"} {
		var names []string
		if kind == "counter" {
			names = append(names, predeclared()...)
		}
		for _, b := range l.blocks[kind] {
			if len(b.Labels) == 1 {
				names = append(names, b.Labels[0])
			}
		}
		l.decl[kind] = newSymbols(names)
	}
	for _, kind := range pluginKinds {
		var names []string
		for _, b := range l.blocks[kind] {
			if len(b.Labels) == 2 {
				names = append(names, b.Labels[0]+"."+b.Labels[1])
			}
		}
		l.decl[kind] = newSymbols(names)
	}
}

// ref is a reference as written: its parts and where it stands.
type ref struct {
	parts []string
	at    hcl.Range
}

func (r ref) String() string { return strings.Join(r.parts, ".") }

// form writes how a reference to a kind looks.
func form(kind string) string {
	if has(pluginKinds, kind) {
		return kind + ".PLUGIN.INSTANCE"
	}
	return kind + ".NAME"
}

// refs reads a list of references, or one alone.
func (b body) refs(name, kind string) (out []ref, set bool) {
	a := b.attr(name)
	if a == nil {
		return nil, false
	}
	exprs := []hclsyntax.Expression{a.Expr}
	if tuple, ok := unwrap(a.Expr).(*hclsyntax.TupleConsExpr); ok {
		exprs = tuple.Exprs
	} else if lit, ok := a.Expr.(*hclsyntax.LiteralValueExpr); ok && lit.Val.IsNull() {
		return nil, false
	}
	seen := map[string]bool{}
	for _, e := range exprs {
		r, ok := b.reference(e, kind)
		if !ok {
			continue
		}
		if seen[r.String()] {
			b.l.errorf(r.at, "Duplicate reference", "%s stands in this list twice. Remove one.", r)
			continue
		}
		seen[r.String()] = true
		out = append(out, r)
	}
	return out, true
}

// reference reads one bare traversal to a block of a kind that is declared.
func (b body) reference(e hclsyntax.Expression, kind string) (ref, bool) {
	l := b.l
	t, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() {
		detail := fmt.Sprintf("A reference is needed here: %s, without quotes.", form(kind))
		if s, ok := literalText(e); ok && strings.HasPrefix(s, kind+".") && hclsyntax.ValidIdentifier(strings.ReplaceAll(s, ".", "_")) {
			detail = fmt.Sprintf("A reference is written without quotes: %s.", s)
		}
		l.errorf(e.Range(), "Invalid reference", "%s", detail)
		return ref{}, false
	}
	r := ref{at: e.Range()}
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			r.parts = append(r.parts, s.Name)
		case hcl.TraverseAttr:
			r.parts = append(r.parts, s.Name)
		default:
			l.errorf(r.at, "Invalid reference", "A reference has names and dots only: %s.", form(kind))
			return ref{}, false
		}
	}
	return r, l.checkRef(r, kind)
}

// checkRef sees that a reference is of the right kind, whole and declared.
func (l *loader) checkRef(r ref, kind string) bool {
	root := r.parts[0]
	if root != kind {
		switch {
		case l.refKind(root):
			l.errorf(r.at, "Wrong kind of reference", "%s names %s, but here %s belongs: %s.", r, aKind(root), aKind(kind), form(kind))
		default:
			known := append(append([]string(nil), pluginKinds...), "network", "hostgroup", "counter", "exporter")
			meant := ""
			if n := l.nearest(root, known); n != "" {
				meant = " Did you mean " + strings.Join(append([]string{n}, r.parts[1:]...), ".") + "?"
			}
			l.errorf(r.at, "Invalid reference", "There is nothing called %q to refer to; here %s belongs: %s.%s", root, aKind(kind), form(kind), meant)
		}
		return false
	}
	want, most := 2, 2
	if has(pluginKinds, kind) {
		want, most = 3, 3
		if kind == "action" {
			most = 4
		}
	}
	if len(r.parts) < want || len(r.parts) > most {
		target := ""
		if kind == "action" {
			target = ", or with a target inside the block action.PLUGIN.INSTANCE.TARGET"
		}
		l.errorf(r.at, "Invalid reference", "A reference to %s has %d parts: %s%s.", aKind(kind), want, form(kind), target)
		return false
	}
	name := strings.Join(r.parts[1:want], ".")
	if s := l.decl[kind]; !s.has(name) {
		if also := name + "_reflection"; kind == "counter" && shippedCounter(also) != nil {
			l.errorf(r.at, "Undeclared counter", "There is no counter.%s. Did you mean counter.%s?", name, also)
			return false
		}
		header := fmt.Sprintf("%s %q", kind, strings.Join(r.parts[1:want], `" "`))
		header = strings.ReplaceAll(header, `\"`, `"`)
		l.errorf(r.at, "Undeclared "+kind, "There is no %s.%s.%s", kind, name, l.orDeclare(name, kind+".", s.names, header+" {\n  ...\n}"))
		return false
	}
	return true
}

// aKind is a kind of block with its article.
func aKind(kind string) string {
	if strings.ContainsAny(kind[:1], "aeiou") {
		return "an " + kind
	}
	return "a " + kind
}

// literalText is the text of a quoted literal without templates.
func literalText(e hclsyntax.Expression) (string, bool) {
	t, ok := unwrap(e).(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return "", false
	}
	v, diags := t.Value(nil)
	if diags.HasErrors() {
		return "", false
	}
	return v.AsString(), true
}

// actions reads references to actions, a target inside the block included.
func (b body) actions(name string) (out []Reference) {
	refs, set := b.refs(name, "action")
	if !set {
		return nil
	}
	out = []Reference{} // set but empty: no action, whatever is inherited
	for _, r := range refs {
		p, _ := b.l.decl["action"].index[r.parts[1]+"."+r.parts[2]].(*Plugin)
		if p == nil {
			continue // its block was complained about
		}
		ref := Reference{Kind: "action", Plugin: r.parts[1], Instance: r.parts[2], Block: p, Range: r.at}
		if len(r.parts) == 4 {
			ref.Target = r.parts[3]
		}
		out = append(out, ref)
	}
	return out
}

// plugins reads references to whole plugin blocks.
func (b body) plugins(name, kind string) (out []*Plugin, ats []hcl.Range) {
	refs, _ := b.refs(name, kind)
	for _, r := range refs {
		if p, _ := b.l.decl[kind].index[r.parts[1]+"."+r.parts[2]].(*Plugin); p != nil {
			out, ats = append(out, p), append(ats, r.at)
		}
	}
	return out, ats
}

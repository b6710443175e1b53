package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// shape is what a block may hold.
type shape struct {
	attrs  []string
	blocks []string
	later  []string // names that a later version brings
}

// body reads one block of the core's own language.
type body struct {
	l    *loader
	what string // for sentences: `a hostgroup`
	*hclsyntax.Block
	named bool // its labels are as they should be
}

// item is a value and where it stands.
type item struct {
	cty.Value
	at     hcl.Range
	secret bool
}

// text shows the value at the beginning of a sentence, unless it is a secret.
func (i item) text() string {
	switch {
	case i.secret:
		return "This secret value"
	case i.Type() == cty.String:
		s := i.AsString()
		if r := []rune(s); len(r) > 60 {
			s = string(r[:60]) + "…"
		}
		return fmt.Sprintf("%q", s)
	case i.Type() == cty.Number:
		return i.AsBigFloat().Text('g', 12)
	case i.Type() == cty.Bool:
		return fmt.Sprint(i.True())
	}
	k := kindOf(i.Type())
	return strings.ToUpper(k[:1]) + k[1:]
}

// discreet is err, whose text may repeat the value, or for a secret a general
// advice.
func (i item) discreet(err error, general string) string {
	if i.secret {
		return general
	}
	return err.Error()
}

// kindOf says what a type is, or what it asks for.
func kindOf(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a text"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsListType() || t.IsSetType():
		return "a list of " + kindsOf(t.ElementType())
	case t.IsMapType():
		return "an object with values that are " + kindsOf(t.ElementType())
	case t.IsTupleType():
		return "a list"
	}
	return "an object"
}

// kindsOf is kindOf for many.
func kindsOf(t cty.Type) string {
	switch k := kindOf(t); {
	case strings.HasPrefix(k, "a list"):
		return "lists" + strings.TrimPrefix(k, "a list")
	case strings.HasPrefix(k, "an object"):
		return "objects" + strings.TrimPrefix(k, "an object")
	case k == "true or false":
		return k
	default:
		return strings.TrimPrefix(k, "a ") + "s"
	}
}

// open checks a block's labels and the names inside it.
func (l *loader) open(b *hclsyntax.Block, what string, labels []string, s shape) body {
	l.checkShape(b.Body, what, s)
	return body{l, what, b, l.labels(b, labels)}
}

// checkShape complains about arguments and blocks that have no place here.
func (l *loader) checkShape(b *hclsyntax.Body, what string, s shape) {
	all := append(append([]string(nil), s.attrs...), s.blocks...)
	for _, a := range sortedAttributes(b) {
		switch {
		case has(s.attrs, a.Name):
		case has(s.later, a.Name):
			l.later(a.NameRange, "The argument "+quoted([]string{a.Name})+" of "+what)
		case has(s.blocks, a.Name):
			l.errorf(a.NameRange, "Block expected", "%q is a block: write it without the equals sign, %s { ... }.", a.Name, a.Name)
		default:
			l.errorf(a.NameRange, "Unknown argument", "There is no argument %q in %s.%s", a.Name, what, l.meantOr(a.Name, all))
		}
	}
	for _, n := range b.Blocks {
		switch {
		case has(s.blocks, n.Type):
		case has(s.later, n.Type):
			l.later(n.DefRange(), "The block "+quoted([]string{n.Type})+" of "+what)
		case has(s.attrs, n.Type):
			l.errorf(n.TypeRange, "Argument expected", "%q is an argument, not a block: write %s = ...", n.Type, n.Type)
		default:
			l.errorf(n.TypeRange, "Unknown block", "There is no block %q in %s.%s", n.Type, what, l.meantOr(n.Type, all))
		}
	}
}

// later refuses what the finished language has and this version has not.
func (l *loader) later(at hcl.Range, what string) {
	l.errorf(at, "Not supported yet", "%s is not supported by this version yet; remove it.", what)
}

// meantOr suggests the nearest name, else lists what there is.
func (l *loader) meantOr(given string, names []string) string {
	if m := l.meant(given, names, true); m != "" {
		return m
	}
	if len(names) == 0 {
		return " Remove it."
	}
	return " It takes " + list(names) + "."
}

// labels sees that a block has the labels named, each an identifier.
func (l *loader) labels(b *hclsyntax.Block, names []string) bool {
	form := labelForm(b.Type, names)
	if len(b.Labels) > len(names) {
		need := "no label"
		if len(names) == 1 {
			need = "one label, the " + names[0]
		} else if len(names) > 1 {
			need = fmt.Sprintf("%d labels, the %s", len(names), strings.Join(names, " and the "))
		}
		l.errorf(b.LabelRanges[len(names)], "Too many labels", "A %s block has %s: write %s { ... }.", b.Type, need, form)
		return false
	}
	if len(b.Labels) < len(names) {
		l.errorf(b.DefRange(), "Missing label", "A %s block needs its %s as a label: write %s { ... }.", b.Type, names[len(b.Labels)], form)
		return false
	}
	for i, label := range b.Labels {
		if !hclsyntax.ValidIdentifier(label) {
			l.errorf(b.LabelRanges[i], "Invalid label", "%q cannot be used as a name in references: it must begin with a letter and have only letters, digits, underscores and dashes.", label)
			return false
		}
	}
	return true
}

// labelForm writes how a block with its labels begins.
func labelForm(name string, labels []string) string {
	for _, l := range labels {
		name += fmt.Sprintf(" %q", strings.ToUpper(l))
	}
	return name
}

// attr is the attribute of that name, or nil.
func (b body) attr(name string) *hclsyntax.Attribute { return b.Body.Attributes[name] }

// items evaluates a list and gives its elements, each with its own place. A
// single value counts as a list of one. n is the number of elements written,
// faulty ones included; -1 where the attribute is not set.
func (b body) items(name string) (out []item, n int) {
	a := b.attr(name)
	if a == nil {
		return nil, -1
	}
	return b.l.items(a.Expr)
}

func (l *loader) items(e hclsyntax.Expression) (out []item, n int) {
	if tuple, ok := unwrap(e).(*hclsyntax.TupleConsExpr); ok {
		for _, elem := range tuple.Exprs {
			if v, ok := l.one(elem); ok {
				out = append(out, v)
			}
		}
		return out, len(tuple.Exprs)
	}
	v, ok := l.value(e)
	if !ok {
		return nil, 1
	}
	v, marks := v.Unmark()
	if v.IsNull() {
		return nil, -1
	}
	ty := v.Type()
	if !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType() {
		return []item{{v, e.Range(), len(marks) > 0}}, 1
	}
	for it := v.ElementIterator(); it.Next(); n++ {
		_, elem := it.Element()
		elem, inner := elem.Unmark()
		if !elem.IsNull() {
			out = append(out, item{elem, e.Range(), len(marks)+len(inner) > 0})
		}
	}
	return out, n
}

// one evaluates an expression that is not null.
func (l *loader) one(e hclsyntax.Expression) (item, bool) {
	v, ok := l.value(e)
	if !ok {
		return item{}, false
	}
	v, marks := v.Unmark()
	if v.IsNull() {
		return item{}, false
	}
	return item{v, e.Range(), len(marks) > 0}, true
}

func (b body) one(name string) (item, bool) {
	if a := b.attr(name); a != nil {
		return b.l.one(a.Expr)
	}
	return item{}, false
}

// wrongType complains about the type of a value.
func (b body) wrongType(i item, name, need string) {
	is := kindOf(i.Type())
	if i.Type().IsPrimitiveType() && !i.secret {
		is = i.text()
	}
	b.l.errorf(i.at, "Wrong type", "%q needs %s, not %s.", name, need, is)
}

func (b body) str(name string) (string, item, bool) {
	i, ok := b.one(name)
	if !ok {
		return "", i, false
	}
	if i.Type() != cty.String {
		b.wrongType(i, name, "a text in quotes")
		return "", i, false
	}
	return i.AsString(), i, true
}

// strs is a list of texts; n is as for items.
func (b body) strs(name string) (out []string, ats []item, n int) {
	items, n := b.items(name)
	for _, i := range items {
		if i.Type() != cty.String {
			b.wrongType(i, name, "texts in quotes")
			continue
		}
		out, ats = append(out, i.AsString()), append(ats, i)
	}
	return out, ats, n
}

// choice is a text that must be one of a few.
func (b body) choice(name string, of ...string) (string, bool) {
	s, i, ok := b.str(name)
	if !ok {
		return "", false
	}
	if !has(of, s) {
		b.l.errorf(i.at, "Invalid value", "%s is not a value of %q: it takes %s.%s", i.text(), name, quoted(of), b.l.secretMeant(i, of))
		return "", false
	}
	return s, true
}

// secretMeant suggests the nearest of a few words, unless that would tell
// something about a secret.
func (l *loader) secretMeant(i item, of []string) string {
	if i.secret {
		return ""
	}
	return l.meant(i.AsString(), of, true)
}

func (b body) boolean(name string) *bool {
	i, ok := b.one(name)
	if !ok {
		return nil
	}
	if i.Type() != cty.Bool {
		b.wrongType(i, name, "true or false, without quotes")
		return nil
	}
	v := i.True()
	return &v
}

func (b body) mode(name string) Mode {
	s, _ := b.choice(name, string(Monitor), string(Enforce))
	return Mode(s)
}

// unwrap takes parentheses off.
func unwrap(e hclsyntax.Expression) hclsyntax.Expression {
	for {
		p, ok := e.(*hclsyntax.ParenthesesExpr)
		if !ok {
			return e
		}
		e = p.Expression
	}
}

func has(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

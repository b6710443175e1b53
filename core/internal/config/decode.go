package config

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Decode checks the block of p against the schema that its plugin describes,
// sets p.Value and returns it: a value of the schema's implied type, in which
// secrets carry the mark Sensitive. With errors the value is cty.NilVal.
func (c *Config) Decode(p *Plugin, schema *host.Block) (cty.Value, hcl.Diagnostics) {
	l := newLoader(nil)
	l.conf, l.eval, l.decl = c, p.Context, c.decl
	what := fmt.Sprintf("%s %q %q", p.Kind, p.Name, p.Instance)
	v := l.decodeBody(p.Body.(*hclsyntax.Body), p.Range, what, schema, nil)
	l.checkAllowList(p, schema)
	diags := tidy(l.diags)
	p.Value = cty.NilVal
	if !diags.HasErrors() {
		p.Value = v
	}
	return p.Value, diags
}

// decodeBody decodes a body; labels are added to the object.
func (l *loader) decodeBody(b *hclsyntax.Body, at hcl.Range, what string, schema *host.Block, labels map[string]cty.Value) cty.Value {
	var s shape
	for _, a := range schema.Attributes {
		s.attrs = append(s.attrs, a.Name)
	}
	for _, n := range schema.Blocks {
		s.blocks = append(s.blocks, n.Name)
	}
	l.checkShape(b, what, s)
	out := map[string]cty.Value{}
	for name, v := range labels {
		out[name] = v
	}
	for i := range schema.Attributes {
		a := &schema.Attributes[i]
		out[a.Name] = l.decodeAttribute(b.Attributes[a.Name], at, what, a)
	}
	for i := range schema.Blocks {
		out[schema.Blocks[i].Name] = l.decodeBlocks(b, at, what, &schema.Blocks[i])
	}
	return cty.ObjectVal(out)
}

// decodeAttribute evaluates an attribute, which may be missing.
func (l *loader) decodeAttribute(a *hclsyntax.Attribute, at hcl.Range, what string, schema *host.Attribute) cty.Value {
	null := cty.NullVal(schema.Type)
	if a != nil && takesExporters(schema) {
		return l.decodeExporters(a, schema)
	}
	var v cty.Value
	if a != nil {
		var ok bool
		if v, ok = l.value(a.Expr); !ok {
			return null
		}
		at = a.Expr.Range()
	}
	if a == nil || v.IsNull() {
		if schema.Required {
			about := ""
			if schema.Summary != "" {
				about = " (" + schema.Summary + ")"
			}
			l.errorf(at, "Missing argument", "%s needs the argument %q%s: write %s = ..., %s.", what, schema.Name, about, schema.Name, kindOf(schema.Type))
		}
		return null
	}
	out, err := convert.Convert(v, schema.Type)
	if err != nil {
		l.wrongPluginType(a, schema, v.Type(), err)
		return null
	}
	if schema.Sensitive {
		out = out.Mark(Sensitive)
	}
	return out
}

// wrongPluginType says what does not fit a plugin's attribute, and where.
func (l *loader) wrongPluginType(a *hclsyntax.Attribute, schema *host.Attribute, is cty.Type, err error) {
	var pe cty.PathError
	if errors.As(err, &pe) && len(pe.Path) > 0 {
		l.errorf(pathRange(a.Expr, pe.Path), "Wrong type", "%q needs %s, but here %s.", schema.Name, kindOf(schema.Type), err)
		return
	}
	advice := ""
	if ty := schema.Type; (ty.IsListType() || ty.IsSetType()) && is.IsPrimitiveType() {
		advice = fmt.Sprintf(" Write it in brackets: %s = [...].", schema.Name)
	}
	l.errorf(a.Expr.Range(), "Wrong type", "%q needs %s, but this is %s.%s", schema.Name, kindOf(schema.Type), kindOf(is), advice)
}

// decodeBlocks decodes the nested blocks of one type.
func (l *loader) decodeBlocks(b *hclsyntax.Body, at hcl.Range, what string, schema *host.NestedBlock) cty.Value {
	var elems []cty.Value
	n := 0
	for _, blk := range b.Blocks {
		if blk.Type != schema.Name {
			continue
		}
		if n++; schema.Max > 0 && n > schema.Max {
			l.errorf(blk.DefRange(), "Too many blocks", "%s takes at most %d %s. Remove this one.", what, schema.Max, plural(schema.Max, schema.Name+" block"))
			continue
		}
		labels := map[string]cty.Value{}
		if !l.countLabels(blk, schema.Labels) {
			continue
		}
		for i, name := range schema.Labels {
			labels[name] = cty.StringVal(blk.Labels[i])
		}
		elems = append(elems, l.decodeBody(blk.Body, blk.DefRange(), aKind(schema.Name)+" block", &schema.Block, labels))
	}
	if n < schema.Min {
		l.errorf(at, "Missing block", "%s needs at least %d %s: write %s { ... }.", what, schema.Min, plural(schema.Min, schema.Name+" block"), labelForm(schema.Name, schema.Labels))
	}
	if len(elems) == 0 {
		empty := host.Block{Blocks: []host.NestedBlock{*schema}}
		return cty.ListValEmpty(empty.ImpliedType().AttributeType(schema.Name).ElementType())
	}
	return cty.ListVal(elems)
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

// PluginDiagnostics turns a plugin's complaints, which carry paths into its
// block, into diagnostics that point at the source.
func (c *Config) PluginDiagnostics(p *Plugin, ds diag.Diagnostics) hcl.Diagnostics {
	var out hcl.Diagnostics
	for _, d := range ds {
		sev := hcl.DiagError
		if !d.IsError() {
			sev = hcl.DiagWarning
		}
		body, _ := p.Body.(*hclsyntax.Body)
		at := diagRange(body, p.Range, d.Path)
		out = append(out, &hcl.Diagnostic{Severity: sev, Summary: d.Summary, Detail: d.Detail, Subject: &at})
	}
	return tidy(out)
}

// diagRange follows a path as far as it leads and returns where it got to.
func diagRange(b *hclsyntax.Body, at hcl.Range, path diag.Path) hcl.Range {
	for b != nil && len(path) > 0 && path[0].Kind == diag.StepAttr {
		name := path[0].Name
		path = path[1:]
		if a := b.Attributes[name]; a != nil {
			return exprRange(a.Expr, path)
		}
		blk, rest := findBlock(b, name, path)
		if blk == nil {
			return at
		}
		b, at, path = blk.Body, blk.DefRange(), rest
	}
	return at
}

// findBlock finds the nested block that a path means: the n-th of its type,
// the one with the label, or the first.
func findBlock(b *hclsyntax.Body, name string, path diag.Path) (*hclsyntax.Block, diag.Path) {
	var blocks []*hclsyntax.Block
	for _, blk := range b.Blocks {
		if blk.Type == name {
			blocks = append(blocks, blk)
		}
	}
	if len(path) > 0 && path[0].Kind == diag.StepIndex {
		if n := path[0].N; n >= 0 && n < len(blocks) {
			return blocks[n], path[1:]
		}
		return nil, nil
	}
	if len(path) > 0 && path[0].Kind == diag.StepKey {
		for _, blk := range blocks {
			if has(blk.Labels, path[0].Name) {
				return blk, path[1:]
			}
		}
		return nil, nil
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	return blocks[0], path
}

// exprRange is the place of an element inside an expression, as far as the
// elements are written out.
func exprRange(e hclsyntax.Expression, path diag.Path) hcl.Range {
	for _, step := range path {
		next := element(e, step)
		if next == nil {
			break
		}
		e = next
	}
	return e.Range()
}

func element(e hclsyntax.Expression, step diag.Step) hclsyntax.Expression {
	switch c := unwrap(e).(type) {
	case *hclsyntax.TupleConsExpr:
		if step.Kind == diag.StepIndex && step.N >= 0 && step.N < len(c.Exprs) {
			return c.Exprs[step.N]
		}
	case *hclsyntax.ObjectConsExpr:
		for _, it := range c.Items {
			if k := hcl.ExprAsKeyword(it.KeyExpr); k != "" && k == step.Name {
				return it.ValueExpr
			}
			if key, ok := it.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				if s, ok := literalText(key.Wrapped); ok && s == step.Name {
					return it.ValueExpr
				}
			}
		}
	}
	return nil
}

// pathRange is exprRange for the path of a conversion error.
func pathRange(e hclsyntax.Expression, path cty.Path) hcl.Range {
	var steps diag.Path
	for _, s := range path {
		switch s := s.(type) {
		case cty.GetAttrStep:
			steps = steps.Attr(s.Name)
		case cty.IndexStep:
			if n, ok := whole(s.Key, 0, 1<<31-1); ok {
				steps = steps.Index(int(n))
			} else if s.Key.Type() == cty.String {
				steps = steps.Key(s.Key.AsString())
			}
		}
	}
	return exprRange(e, steps)
}

// countLabels sees that a plugin's own block has its labels, which may be any
// text.
func (l *loader) countLabels(b *hclsyntax.Block, names []string) bool {
	if len(b.Labels) == len(names) {
		return true
	}
	return l.labels(b, names)
}

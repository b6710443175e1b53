package config

import (
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

type mark string

// Sensitive marks values that came from env() or file(), or that a plugin's
// schema calls sensitive: they belong in no log, difference or description.
// cty.Value.UnmarkDeep takes the mark off for the plugin itself.
const Sensitive = mark("sensitive")

// functions are what expressions may call; paths start in dir.
func functions(dir string, getenv func(string) (string, bool)) map[string]function.Function {
	// Arguments may be secrets themselves and then must not appear in errors.
	secretText := func(name string, get func(arg string) (string, error)) function.Function {
		return function.New(&function.Spec{
			Params: []function.Parameter{{Name: name, Type: cty.String, AllowMarked: true}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				arg, marks := args[0].Unmark()
				s, err := get(arg.AsString())
				if err != nil && len(marks) > 0 {
					err = fmt.Errorf("cannot read what a secret names")
				}
				if err != nil {
					return cty.UnknownVal(cty.String), function.NewArgError(0, err)
				}
				return cty.StringVal(s).Mark(Sensitive), nil
			},
		})
	}
	return map[string]function.Function{
		"env": secretText("name", func(name string) (string, error) {
			if v, ok := getenv(name); ok {
				return v, nil
			}
			return "", fmt.Errorf("the environment variable %q is not set; set it before the daemon starts", name)
		}),
		// A final newline, which editors add, is not part of a secret.
		"file": secretText("path", func(path string) (string, error) {
			data, err := readRegular(inDir(dir, path), maxSecretBytes)
			if err != nil {
				return "", fmt.Errorf("cannot read %s: %s", inDir(dir, path), cause(err))
			}
			return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
		}),
	}
}

// readLocals evaluates all locals, each after those it refers to.
func (l *loader) readLocals() {
	l.eval = &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: functions(l.dir, l.getenv)}
	attrs := map[string]*hclsyntax.Attribute{}
	var order []string
	for _, b := range l.blocks["locals"] {
		l.labels(b, nil)
		for _, n := range b.Body.Blocks {
			l.errorf(n.DefRange(), "Unknown block", "locals holds arguments only: NAME = VALUE. Remove the block %q.", n.Type)
		}
		for _, a := range sortedAttributes(b.Body) {
			if first, ok := attrs[a.Name]; ok {
				l.errorf(a.NameRange, "Duplicate local", "The local %q is already set at %s. Keep one of them.", a.Name, place(first.NameRange))
				continue
			}
			attrs[a.Name] = a
			order = append(order, a.Name)
		}
	}
	l.decl["local"] = newSymbols(order)
	values := map[string]cty.Value{}
	state := map[string]int{} // 1 being evaluated, 2 done
	var stack []string
	var visit func(name string)
	visit = func(name string) {
		if state[name] == 1 {
			l.localCircle(attrs[name], stack)
		}
		if state[name] != 0 {
			return
		}
		state[name] = 1
		stack = append(stack, name)
		// Only what the expression uses: an object of all locals for each
		// local would cost their number squared.
		used := map[string]cty.Value{}
		for _, t := range attrs[name].Expr.Variables() {
			if dep := nameUnder("local", t); dep != "" && attrs[dep] != nil {
				visit(dep)
				used[dep] = cty.DynamicVal
				if v, ok := values[dep]; ok {
					used[dep] = v
				}
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = 2
		l.eval.Variables["local"] = cty.ObjectVal(used)
		values[name] = l.local(attrs[name])
	}
	for _, name := range order {
		visit(name)
	}
	l.eval.Variables["local"] = cty.ObjectVal(values)
}

// local evaluates one local. A faulty one is unknown: what uses it is not
// complained about again.
func (l *loader) local(a *hclsyntax.Attribute) cty.Value {
	v, ok := l.value(a.Expr)
	if !ok {
		return cty.DynamicVal
	}
	if valueSize(v, maxLocalSize) > maxLocalSize {
		l.errorf(a.Expr.Range(), "Local too large", "The value of local.%s has more than %d bytes. Locals are for short values used more than once.", a.Name, maxLocalSize)
		return cty.DynamicVal
	}
	return v
}

// localCircle complains about a local that is defined by itself.
func (l *loader) localCircle(a *hclsyntax.Attribute, stack []string) {
	start := 0
	for stack[start] != a.Name {
		start++
	}
	l.errorf(a.NameRange, "Locals in a circle", "local.%s is defined by itself: %s. Give one of them a value of its own.", a.Name, circle("local.", stack[start:], a.Name))
}

// circle writes a → b → a, shortened where it is long.
func circle(prefix string, names []string, first string) string {
	if len(names) > 8 {
		names = append(append([]string(nil), names[:7]...), "…")
	}
	s := ""
	for _, n := range names {
		s += prefix + n + " → "
	}
	return s + prefix + first
}

// nameUnder is NAME for a traversal ROOT.NAME…, else "".
func nameUnder(root string, t hcl.Traversal) string {
	if t.RootName() != root || len(t) < 2 {
		return ""
	}
	if a, ok := t[1].(hcl.TraverseAttr); ok {
		return a.Name
	}
	return ""
}

// value evaluates an expression. Where ok is false it has been complained
// about, now or where the local it uses was defined.
func (l *loader) value(e hclsyntax.Expression) (v cty.Value, ok bool) {
	if !l.checkNames(e) {
		return cty.DynamicVal, false
	}
	v, diags := e.Value(l.eval)
	l.diags = append(l.diags, diags...)
	if diags.HasErrors() {
		return cty.DynamicVal, false
	}
	n := valueSize(v, maxValuesSize)
	if l.values += n; n > maxValuesSize || l.values > maxValuesSize {
		if l.values-n <= maxValuesSize {
			l.errorf(e.Range(), "Values too large", "Up to here the values of the configuration have more than %d bytes. Put lists of prefixes into files (network: files = [...]).", maxValuesSize)
		}
		return cty.DynamicVal, false
	}
	return v, v.IsWhollyKnown()
}

// checkNames sees that an expression uses locals only, and existing ones.
func (l *loader) checkNames(e hclsyntax.Expression) bool {
	ok := true
	for _, t := range e.Variables() {
		root, at := t.RootName(), t.SourceRange()
		switch name := nameUnder("local", t); {
		case root == "local" && name == "":
			l.errorf(at, "Invalid reference", "A local is named as local.NAME.")
		case root == "local" && !l.decl["local"].has(name):
			l.errorf(at, "Undeclared local", "There is no local %q.%s", name, l.orDeclare(name, "local.", l.decl["local"].names, "locals {\n  "+name+" = ...\n}"))
		case root == "local":
			continue
		case l.refKind(root):
			l.errorf(at, "Reference not allowed here", "%s names a block, but a value is needed here. Write the value itself.", traversalText(t))
		default:
			l.errorf(at, "Unknown name", "%s means nothing here. If it is a text, write it in quotes: %q. A local is named as local.NAME.", traversalText(t), traversalText(t))
		}
		ok = false
	}
	return ok
}

// orDeclare says what to do about a name that is not declared.
func (l *loader) orDeclare(name, prefix string, names []string, block string) string {
	if n := l.nearest(name, names); n != "" {
		return " Did you mean " + prefix + n + "?"
	}
	s := " To declare it:\n\n" + indent(block, "  ")
	if len(names) == 0 || len(names) > 12 {
		return s
	}
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	return fmt.Sprintf(" Known are %s.%s", prefix+strings.Join(sorted, ", "+prefix), s)
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(s, "\n", "\n"+by)
}

// traversalText writes a traversal as it stands in the source.
func traversalText(t hcl.Traversal) string {
	var sb strings.Builder
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			sb.WriteString(s.Name)
		case hcl.TraverseAttr:
			sb.WriteString("." + s.Name)
		default:
			sb.WriteString("[...]")
		}
	}
	return sb.String()
}

// place names a place for a sentence: file:line.
func place(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

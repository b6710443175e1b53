// Package schema derives the schema of a configuration from a struct's tags
// and decodes values into that struct, so that schema and decoder cannot
// differ.
package schema

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
)

// Defaulter is implemented by the pointer to a nested block's struct: it is
// called on each new block before its values are set.
type Defaulter interface{ SetDefaults() }

// Schema is a struct type seen as a configuration body.
type Schema struct {
	Block wire.Block
	typ   reflect.Type
	body  *body
}

// body is a struct and its fields.
type body struct {
	typ    reflect.Type
	fields []field
}

// field is one tagged field.
type field struct {
	index     int
	name      string
	kind      fieldKind
	sensitive bool
	nested    *body // blocks
	shape     shape // blocks
}

type fieldKind uint8

const (
	attribute fieldKind = iota
	label
	block
)

// shape is how a field holds its nested blocks.
type shape uint8

const (
	one     shape = iota // a struct
	pointer              // a pointer to a struct
	many                 // a slice of structs
	manyPtr              // a slice of pointers to structs
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Of derives the schema of a struct type. An error names the field and what
// is wrong with it.
func Of(t reflect.Type) (*Schema, error) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the configuration must be a struct, not %v", t)
	}
	s := &Schema{typ: t}
	var labels []string
	var err error
	if s.body, labels, err = structOf(t, &s.Block, nil); err != nil {
		return nil, err
	}
	if len(labels) > 0 {
		return nil, fmt.Errorf("%v: label %q: only nested blocks have labels; the plugin's own block has none", t, labels[0])
	}
	return s, s.Block.Check()
}

func structOf(t reflect.Type, out *wire.Block, above []reflect.Type) (*body, []string, error) {
	for _, a := range above {
		if a == t {
			return nil, nil, fmt.Errorf("%v contains itself: a schema has a fixed depth", t)
		}
	}
	above = append(above, t)
	b := &body{typ: t}
	var labels []string
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("hcl")
		if !ok {
			if sf.Anonymous {
				return nil, nil, fmt.Errorf("%v: embedded field %s has no hcl tag: name its fields one by one", t, sf.Name)
			}
			continue
		}
		f, options, err := parseTag(sf, tag)
		if err != nil {
			return nil, nil, fmt.Errorf("%v: field %s: %w", t, sf.Name, err)
		}
		f.index = i
		switch f.kind {
		case label:
			labels = append(labels, f.name)
			err = labelField(sf)
		case block:
			err = f.addBlock(sf, options, out, above)
		default:
			err = f.addAttribute(sf, options, out)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%v: field %s: %w", t, sf.Name, err)
		}
		b.fields = append(b.fields, f)
	}
	return b, labels, nil
}

type options struct{ optional bool }

func parseTag(sf reflect.StructField, tag string) (field, options, error) {
	parts := strings.Split(tag, ",")
	f, o := field{name: parts[0]}, options{}
	if !sf.IsExported() {
		return f, o, fmt.Errorf("it has an hcl tag but is not exported")
	}
	for _, p := range parts[1:] {
		switch p {
		case "attr":
		case "optional":
			o.optional = true
		case "sensitive":
			f.sensitive = true
		case "block":
			f.kind = block
		case "label":
			f.kind = label
		default:
			return f, o, fmt.Errorf("hcl tag option %q is none of attr, optional, sensitive, block, label", p)
		}
	}
	if f.sensitive && f.kind != attribute {
		return f, o, fmt.Errorf("only attributes can be sensitive")
	}
	return f, o, nil
}

func labelField(sf reflect.StructField) error {
	if sf.Type.Kind() != reflect.String {
		return fmt.Errorf("a label is a string, not %v", sf.Type)
	}
	return nil
}

func (f *field) addAttribute(sf reflect.StructField, o options, out *wire.Block) error {
	typ, err := attributeType(sf.Type)
	if err != nil {
		return err
	}
	out.Attributes = append(out.Attributes, wire.Attribute{
		Name: f.name, Type: typ, Required: !o.optional, Sensitive: f.sensitive, Summary: sf.Tag.Get("doc"),
	})
	return nil
}

func (f *field) addBlock(sf reflect.StructField, o options, out *wire.Block, above []reflect.Type) error {
	t := sf.Type
	n := wire.NestedBlock{Name: f.name}
	switch {
	case t.Kind() == reflect.Struct:
		f.shape, n.Min, n.Max = one, 1, 1
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		f.shape, n.Max, t = pointer, 1, t.Elem()
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		f.shape, t = many, t.Elem()
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer && t.Elem().Elem().Kind() == reflect.Struct:
		f.shape, t = manyPtr, t.Elem().Elem()
	default:
		return fmt.Errorf("a block is a struct, a pointer to one or a slice of them, not %v", sf.Type)
	}
	if o.optional {
		n.Min = 0
	}
	var err error
	f.nested, n.Labels, err = structOf(t, &n.Block, above)
	out.Blocks = append(out.Blocks, n)
	return err
}

// attributeType maps a Go type to the type of its values in HCL.
func attributeType(t reflect.Type) (cty.Type, error) {
	if t == durationType || isText(t) {
		return cty.String, nil
	}
	switch t.Kind() {
	case reflect.String:
		return cty.String, nil
	case reflect.Bool:
		return cty.Bool, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return cty.Number, nil
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Pointer {
			break
		}
		return attributeType(t.Elem())
	case reflect.Slice:
		inner, err := elementType(t.Elem())
		return cty.List(inner), err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return cty.NilType, fmt.Errorf("a map's keys are strings, not %v", t.Key())
		}
		inner, err := elementType(t.Elem())
		return cty.Map(inner), err
	case reflect.Struct:
		return cty.NilType, fmt.Errorf("%v is a struct: tag it as a block, or give it an UnmarshalText method", t)
	}
	return cty.NilType, fmt.Errorf("%v cannot be an attribute: use a string, bool, number, time.Duration, a type with UnmarshalText, or a slice, string map or pointer of these", t)
}

// objectType is the type of a struct as an element of an attribute's list: an
// object of its tagged fields, which the core fills from a block of its own.
func objectType(t reflect.Type) (cty.Type, error) {
	attrs := map[string]cty.Type{}
	for i := range t.NumField() {
		name, ok := t.Field(i).Tag.Lookup("hcl")
		if !ok {
			continue
		}
		if !t.Field(i).IsExported() || name == "" || strings.Contains(name, ",") {
			return cty.NilType, fmt.Errorf("%v: field %s: in an attribute's struct a tag is a name and the field exported", t, t.Field(i).Name)
		}
		if elem := elementOf(t.Field(i).Type); elem.Kind() == reflect.Struct && !isText(elem) {
			return cty.NilType, fmt.Errorf("%v: field %s: structs in an attribute do not nest", t, t.Field(i).Name)
		}
		typ, err := attributeType(t.Field(i).Type)
		if err != nil {
			return cty.NilType, fmt.Errorf("%v: field %s: %w", t, t.Field(i).Name, err)
		}
		attrs[name] = typ
	}
	if len(attrs) == 0 {
		return cty.NilType, fmt.Errorf("%v is a struct without tagged fields: tag them, or give it an UnmarshalText method", t)
	}
	return cty.Object(attrs), nil
}

// elementOf is what slices, maps and pointers of type t hold in the end.
func elementOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

func elementType(t reflect.Type) (cty.Type, error) {
	if t.Kind() == reflect.Pointer {
		return cty.String, fmt.Errorf("elements of a list or map cannot be pointers")
	}
	typ, err := attributeType(t)
	if t.Kind() == reflect.Struct && !isText(t) {
		typ, err = objectType(t)
	}
	if err != nil {
		typ = cty.String // cty.List panics on no type; the error is what counts
	}
	return typ, err
}

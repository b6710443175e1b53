package schema

import (
	"encoding"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/msgpack"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Unpack reads a value that travelled as msgpack of the implied type.
func (s *Schema) Unpack(b []byte) (cty.Value, error) {
	return msgpack.Unmarshal(b, s.Block.ImpliedType())
}

// Decode returns a new struct of the schema's type: a copy of defaults, in
// which everything the value sets is set. The value is of the implied type.
// Diagnostics point at what could not be decoded.
func (s *Schema) Decode(v cty.Value, defaults any) (any, diag.Diagnostics) {
	if !v.Type().Equals(s.Block.ImpliedType()) || v.IsNull() || !v.IsWhollyKnown() {
		return nil, diag.Diagnostics{diag.Errorf(nil, "Wrong type of configuration",
			"The core sent a configuration that does not fit the schema of this plugin; core and plugin do not belong together.")}
	}
	out := reflect.New(s.typ).Elem()
	out.Set(clone(reflect.ValueOf(defaults)))
	var d decoder
	d.body(s.body, v, out, nil)
	return out.Interface(), d.diags
}

type decoder struct{ diags diag.Diagnostics }

func (d *decoder) fail(path diag.Path, summary, detail string, args ...any) {
	d.diags = append(d.diags, diag.Errorf(path, summary, detail, args...))
}

func (d *decoder) body(b *body, v cty.Value, out reflect.Value, path diag.Path) {
	for i := range b.fields {
		f := &b.fields[i]
		value, target := v.GetAttr(f.name), out.Field(f.index)
		switch {
		case f.kind == block:
			d.blocks(f, value, target, path.Attr(f.name))
		case value.IsNull(): // not set: the default stays
		case f.kind == label:
			target.SetString(value.AsString())
		default:
			d.value(value, target, path.Attr(f.name), f.sensitive)
		}
	}
}

func (d *decoder) blocks(f *field, list cty.Value, out reflect.Value, path diag.Path) {
	if list.IsNull() || list.LengthInt() == 0 {
		return
	}
	blocks := list.AsValueSlice()
	switch f.shape {
	case one:
		d.body(f.nested, blocks[0], out, path.Index(0))
	case pointer:
		if out.IsNil() {
			out.Set(fresh(f.nested.typ))
		}
		d.body(f.nested, blocks[0], out.Elem(), path.Index(0))
	case many, manyPtr:
		slice := reflect.MakeSlice(out.Type(), len(blocks), len(blocks))
		for i, v := range blocks {
			p := fresh(f.nested.typ)
			d.body(f.nested, v, p.Elem(), path.Index(i))
			if f.shape == many {
				slice.Index(i).Set(p.Elem())
			} else {
				slice.Index(i).Set(p)
			}
		}
		out.Set(slice)
	}
}

// fresh makes a pointer to a new struct with its own defaults.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return p
}

func (d *decoder) value(v cty.Value, out reflect.Value, path diag.Path, sensitive bool) {
	if v.IsNull() {
		d.fail(path, "Missing value", "An element of a list or map cannot be null.")
		return
	}
	t := out.Type()
	switch {
	case t == durationType:
		d.duration(v.AsString(), out, path, sensitive)
		return
	case isText(t):
		d.text(v.AsString(), out, path, sensitive)
		return
	}
	switch t.Kind() {
	case reflect.String:
		out.SetString(v.AsString())
	case reflect.Bool:
		out.SetBool(v.True())
	case reflect.Float32, reflect.Float64:
		f, _ := v.AsBigFloat().Float64()
		out.SetFloat(f)
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		d.value(v, p.Elem(), path, sensitive)
		out.Set(p)
	case reflect.Slice:
		slice := reflect.MakeSlice(t, 0, v.LengthInt())
		for i, e := range v.AsValueSlice() {
			slice = reflect.Append(slice, reflect.Zero(t.Elem()))
			d.value(e, slice.Index(i), path.Index(i), sensitive)
		}
		out.Set(slice)
	case reflect.Map:
		m := reflect.MakeMapWithSize(t, v.LengthInt())
		for key, e := range v.AsValueMap() {
			p := reflect.New(t.Elem()).Elem()
			d.value(e, p, path.Key(key), sensitive)
			m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), p)
		}
		out.Set(m)
	case reflect.Struct:
		d.object(v, out, path, sensitive)
	default:
		d.integer(v.AsBigFloat(), out, path, sensitive)
	}
}

// object decodes an attribute's struct; what is null stays as it is.
func (d *decoder) object(v cty.Value, out reflect.Value, path diag.Path, sensitive bool) {
	for i := range out.NumField() {
		name, ok := out.Type().Field(i).Tag.Lookup("hcl")
		if !ok {
			continue
		}
		if inner := v.GetAttr(name); !inner.IsNull() {
			d.value(inner, out.Field(i), path.Attr(name), sensitive)
		}
	}
}

func (d *decoder) integer(f *big.Float, out reflect.Value, path diag.Path, sensitive bool) {
	ok := f.IsInt()
	var low, high any
	if out.CanInt() {
		bits := out.Type().Bits()
		low, high = -(int64(1) << (bits - 1)), int64(1)<<(bits-1)-1
		n, accuracy := f.Int64()
		if ok = ok && accuracy == big.Exact && !out.OverflowInt(n); ok {
			out.SetInt(n)
		}
	} else {
		low, high = 0, ^uint64(0)>>(64-out.Type().Bits())
		n, accuracy := f.Uint64()
		if ok = ok && accuracy == big.Exact && !out.OverflowUint(n); ok {
			out.SetUint(n)
		}
	}
	if !ok {
		d.fail(path, "Number out of range", "%s must be a whole number from %d to %d.", shown(f.Text('g', 20), sensitive), low, high)
	}
}

func (d *decoder) duration(s string, out reflect.Value, path diag.Path, sensitive bool) {
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.fail(path, "Invalid duration", `%s is no duration: write a number and a unit, such as "500ms", "30s", "5m" or "1h30m".`, shown(s, sensitive))
	case v < 0:
		d.fail(path, "Invalid duration", `%s is negative.`, shown(s, sensitive))
	default:
		out.SetInt(int64(v))
	}
}

// wanted says what the standard library's types of address look like.
var wanted = map[reflect.Type][2]string{
	reflect.TypeFor[netip.Addr]():     {"Invalid address", `an IP address, such as "192.0.2.1" or "2001:db8::1"`},
	reflect.TypeFor[netip.Prefix]():   {"Invalid prefix", `a prefix, such as "192.0.2.0/24" or "2001:db8::/32"`},
	reflect.TypeFor[netip.AddrPort](): {"Invalid address", `an IP address with a port, such as "0.0.0.0:6343" or "[::]:6343"`},
}

func (d *decoder) text(s string, out reflect.Value, path diag.Path, sensitive bool) {
	err := out.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
	if w, ok := wanted[out.Type()]; ok {
		if err != nil || s == "" { // these take an empty text for no address
			d.fail(path, w[0], "%s is not %s.", shown(s, sensitive), w[1])
		}
		return
	}
	if err == nil {
		return
	}
	if sensitive { // the error may quote the value
		d.fail(path, "Invalid value", "The value, which is not shown because it is sensitive, is not what this attribute takes.")
		return
	}
	d.fail(path, "Invalid value", "%q: %v.", s, err)
}

func shown(s string, sensitive bool) string {
	if sensitive {
		return "The value, which is not shown because it is sensitive,"
	}
	return fmt.Sprintf("%q", s)
}

// clone copies v so deep that nobody who changes the copy's tagged kinds of
// value (slices, maps, pointers) changes v.
func clone(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(clone(v.Field(i)))
			}
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(clone(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for it := v.MapRange(); it.Next(); {
				out.SetMapIndex(it.Key(), clone(it.Value()))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() != reflect.Invalid {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(clone(v.Elem()))
		}
	}
	return out
}

package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Mend replaces what is not UTF-8 in the strings of a message, and in those
// within: protobuf refuses to send the whole message otherwise, for one name
// that a device has told.
func Mend(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			mendMap(m, f, v.Map())
		case f.IsList():
			mendList(m, f, v.List())
		case f.Kind() == protoreflect.StringKind:
			if s := v.String(); !utf8.ValidString(s) {
				m.Set(f, protoreflect.ValueOfString(valid(s)))
			}
		case f.Message() != nil:
			Mend(v.Message())
		}
		return true
	})
}

// mendList leaves the list that the message was given as it is: it may be
// another's.
func mendList(m protoreflect.Message, f protoreflect.FieldDescriptor, list protoreflect.List) {
	switch {
	case f.Message() != nil:
		for i := range list.Len() {
			Mend(list.Get(i).Message())
		}
	case f.Kind() == protoreflect.StringKind:
		sound := true
		for i := range list.Len() {
			sound = sound && utf8.ValidString(list.Get(i).String())
		}
		if sound {
			return
		}
		mended := m.NewField(f).List()
		for i := range list.Len() {
			mended.Append(protoreflect.ValueOfString(valid(list.Get(i).String())))
		}
		m.Set(f, protoreflect.ValueOfList(mended))
	}
}

// mendMap likewise.
func mendMap(m protoreflect.Message, f protoreflect.FieldDescriptor, of protoreflect.Map) {
	words := f.MapKey().Kind() == protoreflect.StringKind
	texts := f.MapValue().Kind() == protoreflect.StringKind
	sound := true
	of.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		sound = sound && (!words || utf8.ValidString(k.String())) && (!texts || utf8.ValidString(v.String()))
		if f.MapValue().Message() != nil {
			Mend(v.Message())
		}
		return true
	})
	if sound {
		return
	}
	mended := m.NewField(f).Map()
	of.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if words {
			k = protoreflect.ValueOfString(valid(k.String())).MapKey()
		}
		if texts {
			v = protoreflect.ValueOfString(valid(v.String()))
		}
		mended.Set(k, v)
		return true
	})
	m.Set(f, protoreflect.ValueOfMap(mended))
}

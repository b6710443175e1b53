package main

import (
	"math"
	"strconv"
	"strings"
)

// tag is a tag's key and value.
type tag struct{ key, value string }

// field is a field's key and its value: a float64, an int64 or a string.
type field struct {
	key   string
	value any
}

// row is a point of a measurement.
type row struct {
	measurement string
	tags        []tag
	fields      []field
	at          int64 // Unix nanoseconds
}

var (
	escapeName   = strings.NewReplacer(",", `\,`, " ", `\ `, "\n", `\ `, "\r", `\ `)
	escapeTag    = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `, "\n", `\ `, "\r", `\ `, `\`, `/`)
	escapeString = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// appendRow appends a point in line protocol; one without a field is none. Tags
// without a value are left out, as are fields that are no numbers.
func appendRow(b []byte, r *row) []byte {
	start := len(b)
	b = append(b, escapeName.Replace(r.measurement)...)
	for _, t := range r.tags {
		if t.value != "" {
			b = append(append(append(append(b, ','), escapeTag.Replace(t.key)...), '='), escapeTag.Replace(t.value)...)
		}
	}
	sep := byte(' ')
	for _, f := range r.fields {
		v, isFloat := f.value.(float64)
		if isFloat && (math.IsNaN(v) || math.IsInf(v, 0)) {
			continue
		}
		b = append(append(append(b, sep), escapeTag.Replace(f.key)...), '=')
		sep = ','
		switch x := f.value.(type) {
		case float64:
			b = strconv.AppendFloat(b, math.Round(x*1000)/1000, 'f', -1, 64)
		case int64:
			b = append(strconv.AppendInt(b, x, 10), 'i')
		case string:
			b = append(append(append(b, '"'), escapeString.Replace(x)...), '"')
		}
	}
	if sep == ' ' {
		return b[:start]
	}
	return append(strconv.AppendInt(append(b, ' '), r.at, 10), '\n')
}

package prefix

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
)

// ListError says what is wrong with which line of a list.
type ListError struct {
	Line   int // from 1
	Text   string
	Reason string
}

func (e *ListError) Error() string {
	return fmt.Sprintf("line %d: %s is not a prefix: %s", e.Line, strconv.Quote(e.Text), e.Reason)
}

// ParseList reads a list of prefixes: the first word of a line is a prefix or
// an address, # and ; begin a comment, which is how block lists are published.
// Bits behind a prefix's length are ignored. An error is a *ListError.
func ParseList(data []byte) ([]netip.Prefix, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	out := make([]netip.Prefix, 0, 1+bytes.Count(data, []byte{'\n'}))
	for line := 1; len(data) > 0; line++ {
		var text []byte
		text, data, _ = bytes.Cut(data, []byte{'\n'})
		if i := bytes.IndexAny(text, "#;"); i >= 0 {
			text = text[:i]
		}
		fields := bytes.Fields(text)
		if len(fields) == 0 {
			continue
		}
		p, err := Parse(string(fields[0]))
		if err != nil {
			return nil, &ListError{Line: line, Text: string(fields[0][:min(len(fields[0]), 80)]), Reason: err.Error()}
		}
		out = append(out, p)
	}
	return out, nil
}

// Parse reads a prefix, or an address as the prefix that holds only it.
func Parse(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return plain(p), nil
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("write an address or a prefix, such as 198.51.100.0/24 or 2001:db8::/32")
	case a.Zone() != "":
		return netip.Prefix{}, fmt.Errorf("a zone has no place here")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// maxDuration bounds every duration of the language: ten years.
const maxDuration = 10 * 365 * 24 * time.Hour

// duration reads a text such as "30s", "1h30m" or "30d" that is longer than
// zero.
func (b body) duration(name string) (time.Duration, bool) {
	i, ok := b.one(name)
	if !ok {
		return 0, false
	}
	if i.Type() != cty.String {
		b.wrongType(i, name, `a text with a unit, such as "30s"`)
		return 0, false
	}
	d, err := ParseDuration(i.AsString())
	if err != nil {
		b.l.errorf(i.at, "Invalid duration", "%s is not a duration for %q: %s.", i.text(), name, err)
		return 0, false
	}
	return d, true
}

// ParseDuration reads a duration as the configuration writes them: "30s",
// "1h30m", "7d".
func ParseDuration(s string) (time.Duration, error) {
	var total float64
	rest := s
	for rest != "" {
		n, unit, tail, ok := numberAndUnit(rest)
		scale, known := map[string]time.Duration{
			"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
			"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
		}[unit]
		if !ok || !known {
			return 0, fmt.Errorf(`write numbers with the units ms, s, m, h or d, such as "500ms", "30s" or "1h30m"`)
		}
		total += n * float64(scale)
		rest = tail
	}
	switch {
	case total < 1:
		return 0, fmt.Errorf("it must be longer than 0")
	case total > float64(maxDuration):
		return 0, fmt.Errorf("it must not be longer than ten years")
	}
	return time.Duration(math.Round(total)), nil
}

// numberAndUnit splits "1.5h30m" into 1.5, "h" and "30m".
func numberAndUnit(s string) (n float64, unit, rest string, ok bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	if err != nil || i > 32 {
		return 0, "", "", false
	}
	s = s[i:]
	j := strings.IndexAny(s, "0123456789.")
	if j < 0 {
		j = len(s)
	}
	return n, s[:j], s[j:], true
}

// size reads bytes: "2GiB" is 2³¹, "512MB" is 512·10⁶, a number is bytes.
func (b body) size(name string) (uint64, bool) {
	i, ok := b.one(name)
	if !ok {
		return 0, false
	}
	n, ok := b.scaled(i, sizeUnits)
	switch {
	case !ok:
		b.l.errorf(i.at, "Invalid size", "%s is not a size for %q: write a number of bytes, with KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), such as \"2GiB\".", i.text(), name)
	case n < 1 || n > 1<<50:
		b.l.errorf(i.at, "Invalid size", "%s is out of range for %q: it must be from 1 byte to 1024TiB.", i.text(), name)
		ok = false
	}
	return uint64(n), ok
}

// maxRate is what the engine can hold: bits per second; of anything else an
// eighth.
const maxRate = 8e13

// rate reads what a second may have: 20000, "1G" (10⁹).
func (b body) rate(name string) (float64, bool) {
	i, ok := b.one(name)
	if !ok {
		return 0, false
	}
	n, ok := b.scaled(i, rateUnits)
	switch {
	case !ok:
		b.l.errorf(i.at, "Invalid rate", "%s is not a rate for %q: write a number, or a text with K, M, G or T (powers of 1000), such as 20000 or \"1G\". The unit is in the name: bps is bits per second.", i.text(), name)
	case n <= 0:
		b.l.errorf(i.at, "Invalid rate", "%s is not a limit for %q: it must be more than 0. To remove a limit that is inherited, write disable = [%q].", i.text(), name, name)
		ok = false
	case n >= maxRate || n >= maxRate/8 && !strings.HasSuffix(name, "bps"):
		b.l.errorf(i.at, "Invalid rate", "%s is out of range for %q: it must be below 80T bits, or 10T packets or flows, a second.", i.text(), name)
		ok = false
	}
	return n, ok
}

// The units are those that sdk.Size and sdk.Rate read.
var (
	rateUnits = map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
	sizeUnits = map[string]float64{
		"": 1, "B": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
)

// scaled reads a number, or a text of a number and one of the units.
func (b body) scaled(i item, units map[string]float64) (float64, bool) {
	switch i.Type() {
	case cty.Number:
		n, _ := i.AsBigFloat().Float64()
		return n, true
	case cty.String:
		s := i.AsString()
		sign := 1.0
		if strings.HasPrefix(s, "-") {
			sign, s = -1, s[1:]
		}
		n, unit, rest, ok := numberAndUnit(s)
		scale, known := units[unit]
		return sign * n * scale, ok && known && rest == ""
	}
	return 0, false
}

// parsePrefix reads a CIDR prefix or an address, which means itself alone.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf(`write an address or a prefix, such as "203.0.113.0/24" or "2001:db8::/32"`)
		}
		if a.Is4In6() {
			return netip.Prefix{}, fmt.Errorf(`write the IPv4 address itself, "%s"`, a.Unmap())
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf(`write an address and a length, such as "203.0.113.0/24" or "2001:db8::/32"`)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("write IPv4 prefixes in their own form, not inside IPv6")
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("it has bits set behind its length; the prefix is %q", m)
	}
	return p, nil
}

// prefixAt is a prefix and where it stands.
type prefixAt struct {
	netip.Prefix
	at     hcl.Range
	listed bool // in a file
}

// prefixes reads a list of prefixes; one that stands there twice is an error.
func (b body) prefixes(name string) []prefixAt {
	texts, items, _ := b.strs(name)
	seen := make(map[netip.Prefix]bool, len(texts))
	var out []prefixAt
	for n, s := range texts {
		p, err := parsePrefix(s)
		if err != nil {
			b.l.errorf(items[n].at, "Invalid prefix", "%s is not a prefix: %s.", items[n].text(), items[n].discreet(err, "write addresses and prefixes without bits set behind their length"))
			continue
		}
		if seen[p] {
			b.l.errorf(items[n].at, "Duplicate prefix", "%s stands in this list twice. Remove one.", p)
			continue
		}
		seen[p] = true
		out = append(out, prefixAt{Prefix: p, at: items[n].at})
	}
	return out
}

// plainPrefixes drops the places.
func plainPrefixes(in []prefixAt) (out []netip.Prefix) {
	for _, p := range in {
		out = append(out, p.Prefix)
	}
	return out
}

// until reads a date, which ends with that day in UTC, or a time.
func (b body) until(name string) time.Time {
	s, i, ok := b.str(name)
	if !ok {
		return time.Time{}
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, 1)
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		b.l.errorf(i.at, "Invalid time", "%s is not a time for %q: write a date (the day still counts, in UTC) or a time as RFC 3339 has it, such as \"2027-06-30\" or \"2027-06-30T12:00:00Z\".", i.text(), name)
		return time.Time{}
	}
	return t
}

// whole reads a whole number in a range.
func whole(v cty.Value, from, to int64) (int64, bool) {
	if v.Type() != cty.Number {
		return 0, false
	}
	n, acc := v.AsBigFloat().Int64()
	return n, acc == 0 && n >= from && n <= to
}

// span reads a number or a text "FROM-TO" in a range.
func span(v cty.Value, most int64) (from, to int64, err error) {
	need := fmt.Errorf("write whole numbers from 0 to %d, or ranges such as \"1024-2047\"", most)
	if n, ok := whole(v, 0, most); ok {
		return n, n, nil
	}
	if v.Type() != cty.String {
		return 0, 0, need
	}
	lo, hi, isRange := strings.Cut(v.AsString(), "-")
	if !isRange {
		hi = lo
	}
	a, err1 := strconv.ParseUint(strings.TrimSpace(lo), 10, 63)
	z, err2 := strconv.ParseUint(strings.TrimSpace(hi), 10, 63)
	switch {
	case err1 != nil || err2 != nil || a > uint64(most) || z > uint64(most):
		return 0, 0, need
	case a > z:
		return 0, 0, fmt.Errorf("its ends are reversed; write \"%d-%d\"", z, a)
	}
	return int64(a), int64(z), nil
}

// ports reads port numbers and ranges.
func (b body) ports(name string) (out [][2]uint16) {
	items, n := b.items(name)
	for _, i := range items {
		from, to, err := span(i.Value, math.MaxUint16)
		if err != nil {
			b.l.errorf(i.at, "Invalid port", "%s is not a port for %q: %s.", i.text(), name, i.discreet(err, "write numbers and ranges from 0 to 65535"))
			continue
		}
		out = append(out, [2]uint16{uint16(from), uint16(to)})
	}
	b.notEmpty(name, n)
	return out
}

// lengths reads packet lengths and ranges, in octets of the IP packet.
func (b body) lengths(name string) (out [][2]uint32) {
	items, n := b.items(name)
	for _, i := range items {
		from, to, err := span(i.Value, math.MaxUint32)
		if err != nil {
			b.l.errorf(i.at, "Invalid packet length", "%s is not a length for %q: %s.", i.text(), name, i.discreet(err, "write numbers and ranges"))
			continue
		}
		out = append(out, [2]uint32{uint32(from), uint32(to)})
	}
	b.notEmpty(name, n)
	return out
}

// notEmpty complains about an empty list, which would match nothing or all.
func (b body) notEmpty(name string, n int) {
	if n == 0 {
		b.l.errorf(b.attr(name).Expr.Range(), "Empty list", "%q is empty, which says nothing. Write at least one value, or remove it.", name)
	}
}

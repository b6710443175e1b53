package sdk

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In a configuration it is written "2GiB" (2·2³⁰),
// "64MiB", "1G" or "1GB" (10⁹), or as a plain number.
type Size uint64

// Rate is a number per second, such as bits or packets. In a configuration it
// is written "1G" (10⁹), "2.5M", "300k", or as a plain number.
type Rate uint64

// UnmarshalText reads a size; it must be a whole number of bytes.
func (s *Size) UnmarshalText(text []byte) error {
	return parseUnits(string(text), true, (*uint64)(s), `a size is a number and a unit, such as "512MiB", "2GiB" or "1G"`)
}

// UnmarshalText reads a rate; it must be a whole number.
func (r *Rate) UnmarshalText(text []byte) error {
	return parseUnits(string(text), false, (*uint64)(r), `a rate is a number and a unit, such as "300k", "2.5M" or "1G"`)
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if f := uint64(1) << (40 - 10*i); s != 0 && uint64(s)%f == 0 {
			return strconv.FormatUint(uint64(s)/f, 10) + unit
		}
	}
	return strconv.FormatUint(uint64(s), 10)
}

// String writes the rate with the largest unit that divides it.
func (r Rate) String() string {
	f := uint64(1e12)
	for _, unit := range []string{"T", "G", "M", "k"} {
		if r != 0 && uint64(r)%f == 0 {
			return strconv.FormatUint(uint64(r)/f, 10) + unit
		}
		f /= 1000
	}
	return strconv.FormatUint(uint64(r), 10)
}

func parseUnits(s string, bytes bool, out *uint64, usage string) error {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	factor, ok := unitFactor(s[len(digits):], bytes)
	if !ok || digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return errors.New(usage)
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
		if n > math.MaxUint64/factor {
			return fmt.Errorf("it is larger than 2⁶⁴-1")
		}
		*out = n * factor
		return nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return errors.New(usage)
	}
	f *= float64(factor)
	if f >= 1<<63 {
		return fmt.Errorf("it is too large")
	}
	if f != math.Trunc(f) {
		return fmt.Errorf("it is no whole number")
	}
	*out = uint64(f)
	return nil
}

func unitFactor(unit string, bytes bool) (uint64, bool) {
	if bytes {
		for i, prefix := range []string{"Ki", "Mi", "Gi", "Ti"} {
			if unit == prefix || unit == prefix+"B" {
				return 1 << (10 * (i + 1)), true
			}
		}
		if unit == "B" {
			return 1, true
		}
		if len(unit) == 2 {
			unit = strings.TrimSuffix(unit, "B")
		}
	}
	switch unit {
	case "":
		return 1, true
	case "k", "K":
		return 1e3, true
	case "M":
		return 1e6, true
	case "G":
		return 1e9, true
	case "T":
		return 1e12, true
	}
	return 0, false
}

package sdk_test

import (
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]sdk.Size{
		"0": 0, "512": 512, "1B": 1, "1k": 1000, "1KiB": 1024, "2GiB": 2 << 30, "2Gi": 2 << 30, "1.5MiB": 3 << 19,
		"1G": 1e9, "1GB": 1e9, "3T": 3e12, "18446744073709551615": 1<<64 - 1,
	} {
		var got sdk.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "1 G", "1e9", "0x10", "1.2.3", "0.3", "1PiB", "1iB", "20000000T", "18446744073709551616", "NaN", "1BB"} {
		var got sdk.Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]sdk.Rate{"1G": 1e9, "2.5M": 25e5, "300k": 3e5, "7": 7} {
		var got sdk.Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	var got sdk.Rate
	if err := got.UnmarshalText([]byte("1GiB")); err == nil {
		t.Error("a rate in bytes was read")
	}
}

func TestUnitsRoundTrip(t *testing.T) {
	for _, n := range []uint64{0, 1, 999, 1000, 1024, 1 << 30, 1e9, 15e8, 3 << 40, 1<<64 - 1} {
		size, rate := sdk.Size(n), sdk.Rate(n)
		if err := size.UnmarshalText([]byte(sdk.Size(n).String())); err != nil || size != sdk.Size(n) {
			t.Errorf("size %d is written %s, read %d, %v", n, sdk.Size(n), size, err)
		}
		if err := rate.UnmarshalText([]byte(sdk.Rate(n).String())); err != nil || rate != sdk.Rate(n) {
			t.Errorf("rate %d is written %s, read %d, %v", n, sdk.Rate(n), rate, err)
		}
	}
}

package config

import (
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"500ms": 500 * time.Millisecond, "5s": 5 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "30d": 720 * time.Hour, "10us": 10 * time.Microsecond,
		"": 0, "5": 0, "s": 0, "5 s": 0, "-5s": 0, "5sec": 0, "1w": 0, "0s": 0, "1..5s": 0, "99999d": 0, "1e9s": 0, "5S": 0, "1h30": 0,
	} {
		got, err := ParseDuration(in)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.0/24": "203.0.113.0/24", "203.0.113.7": "203.0.113.7/32", "2001:db8::/32": "2001:db8::/32", "2001:DB8::1": "2001:db8::1/128",
		"0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0",
		"": "", "203.0.113.0/": "", "203.0.113.0/33": "", "203.0.113.1/24": "", "2001:db8::1/64": "", "fe80::1%eth0": "", "fe80::%eth0/64": "",
		"::ffff:192.0.2.1": "", "::ffff:192.0.2.0/120": "", "203.0.113/24": "", " 10.0.0.0/8": "", "010.0.0.0/8": "",
	} {
		got, err := parsePrefix(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestScaled(t *testing.T) {
	for _, c := range []struct {
		in         cty.Value
		rate, size float64 // -1: not one
	}{
		{cty.NumberIntVal(20000), 20000, 20000},
		{cty.StringVal("20000"), 20000, 20000},
		{cty.StringVal("1G"), 1e9, 1e9},
		{cty.StringVal("1.5M"), 1.5e6, 1.5e6},
		{cty.StringVal("20k"), 2e4, 2e4},
		{cty.StringVal("2T"), 2e12, 2e12},
		{cty.StringVal("512MB"), -1, 512e6},
		{cty.StringVal("2GiB"), -1, 2 << 30},
		{cty.StringVal("1KiB"), -1, 1024},
		{cty.StringVal("1g"), -1, -1},
		{cty.StringVal("1 G"), -1, -1},
		{cty.StringVal("G"), -1, -1},
		{cty.StringVal(""), -1, -1},
		{cty.StringVal("1G1G"), -1, -1},
		{cty.StringVal("1e9"), -1, -1},
		{cty.StringVal("0x10"), -1, -1},
		{cty.StringVal("Inf"), -1, -1},
		{cty.True, -1, -1},
	} {
		for name, u := range map[string]struct {
			units map[string]float64
			want  float64
		}{"rate": {rateUnits, c.rate}, "size": {sizeUnits, c.size}} {
			got, ok := body{}.scaled(item{Value: c.in}, u.units)
			if ok != (u.want >= 0) || ok && got != u.want {
				t.Errorf("%s %#v: %v, %v, want %v", name, c.in, got, ok, u.want)
			}
		}
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[string][2]int64{
		"53": {53, 53}, "1024-2047": {1024, 2047}, "0-65535": {0, 65535}, "1 - 2": {1, 2},
		"": {-1}, "-": {-1}, "1-": {-1}, "2-1": {-1}, "65536": {-1}, "1-65536": {-1}, "a": {-1}, "-1": {-1}, "1-2-3": {-1}, "+1": {-1},
	} {
		from, to, err := span(cty.StringVal(in), 65535)
		if (err == nil) != (want[0] >= 0) || err == nil && [2]int64{from, to} != want {
			t.Errorf("%q: %d, %d, %v", in, from, to, err)
		}
	}
	for _, v := range []cty.Value{cty.NumberFloatVal(1.5), cty.NumberIntVal(-1), cty.NumberIntVal(65536), cty.True} {
		if _, _, err := span(v, 65535); err == nil {
			t.Errorf("%#v is no port", v)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"average", "networks", "prefixes", "quiet", "mode", "pps", "bps"}
	for in, want := range map[string]string{"averge": "average", "netwroks": "networks", "Mode": "mode", "pbs": "bps", "prefix": "prefixes", "colour": "", "": "", "ps": "bps"} {
		if got := nearest(in, names); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestSecretsStaySecret: what is computed from a secret is one too.
func TestSecretsStaySecret(t *testing.T) {
	l := newLoader([]Option{fixed})
	l.declare()
	l.readLocals()
	for _, src := range []string{`env("SECRET")`, `"x-${env("SECRET")}"`, `[env("SECRET")][0]`, `true ? env("SECRET") : "x"`, `{ a = env("SECRET") }.a`} {
		e, diags := hclsyntax.ParseExpression([]byte(src), "x.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		i, ok := l.one(e)
		if !ok || !i.secret || i.text() != "This secret value" {
			t.Errorf("%s: %v, %v, shown as %s", src, ok, i.secret, i.text())
		}
	}
}

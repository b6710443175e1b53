package main

import (
	"flag"
	"math"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func lines(rows []row) (b []byte) {
	for i := range rows {
		b = appendRow(b, &rows[i])
	}
	return b
}

// Every measurement, tag and field of both layouts.
func TestLayouts(t *testing.T) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 2)
	sdktest.Golden(t, "testdata/fastnetmon.txt", string(lines(communityRows(&s))), *update)
	rows := nativeRows(&s)
	for _, e := range append(sdktest.Attack(s.Time, 1), sdktest.Mitigated(s.Time, 1)...) {
		rows = append(rows, eventRow(&e))
	}
	sdktest.Golden(t, "testdata/native.txt", string(lines(rows)), *update)
}

func TestEscapes(t *testing.T) {
	r := row{"a b,c", []tag{{"k=1", `v, \"x"`}, {"empty", ""}, {"n", "a\nb"}}, []field{{"f 1", 1.5}, {"nan", math.NaN()}, {"s", "a \"b\" \\ c\nd"}, {"i", int64(-3)}}, 7}
	want := `a\ b\,c,k\=1=v\,\ /"x",n=a\ b f\ 1=1.5,s="a \"b\" \\ c` + "\n" + `d",i=-3i 7` + "\n"
	if got := string(appendRow(nil, &r)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := appendRow([]byte("x"), &row{"m", nil, []field{{"nan", math.Inf(1)}}, 1}); string(got) != "x" {
		t.Errorf("a point without fields: %q", got)
	}
}

// BenchmarkLines is a snapshot of 10,000 hosts.
func BenchmarkLines(b *testing.B) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 10_000)
	b.ReportAllocs()
	n := 0
	var buf []byte
	for b.Loop() {
		rows := nativeRows(&s)
		buf = buf[:0]
		for i := range rows {
			buf = appendRow(buf, &rows[i])
		}
		n += len(rows)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "points/s")
}

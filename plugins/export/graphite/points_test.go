package main

import (
	"flag"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Every path and value of both layouts.
func TestPaths(t *testing.T) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 2)
	sdktest.Golden(t, "testdata/fastnetmon.txt", string(appendLines(nil, communityPoints("fastnetmon", &s))), *update)
	points := nativePoints("fastnetmon", &s)
	for _, e := range append(sdktest.Attack(s.Time, 1), sdktest.Mitigated(s.Time, 1)...) {
		points = append(points, eventPoints("fastnetmon", &e)...)
	}
	sdktest.Golden(t, "testdata/native.txt", string(appendLines(nil, points)), *update)
}

// BenchmarkEncode is a snapshot of 10,000 hosts.
func BenchmarkEncode(b *testing.B) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 10_000)
	for name, encode := range map[string]func([]byte, []point) []byte{plaintext: appendLines, pickled: appendPickles} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				points := nativePoints("fastnetmon", &s)
				encode(nil, points)
				n += len(points)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "points/s")
		})
	}
}

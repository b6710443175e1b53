package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", name, got)
	}
}

// Every path and value of both layouts.
func TestPaths(t *testing.T) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 2)
	golden(t, "fastnetmon.txt", appendLines(nil, communityPoints("fastnetmon", &s)))
	points := nativePoints("fastnetmon", &s)
	for _, e := range sdktest.Attack(s.Time, 1) {
		points = append(points, eventPoints("fastnetmon", &e)...)
	}
	golden(t, "native.txt", appendLines(nil, points))
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

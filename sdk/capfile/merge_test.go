package capfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Merging gives what a stable sort of all packets by their clamped time does.
func TestMerge(t *testing.T) {
	for files := range 9 {
		rng := rand.New(rand.NewPCG(7, uint64(files)))
		var readers []*Reader
		var expect []want
		for f := range files {
			b := classic(binary.LittleEndian, true, traffic.LinkRaw)
			now, largest := noon+rng.Int64N(100), int64(0)
			for i := range rng.IntN(60) {
				now += rng.Int64N(40) - 8 // backwards now and then
				largest = max(largest, now)
				data := strconv.Itoa(f) + "/" + strconv.Itoa(i)
				b.record(want{Time: now, Wire: 60, Data: data}, 1)
				expect = append(expect, want{largest, traffic.LinkRaw, 60, data})
			}
			r, err := NewReader("test", bytes.NewReader(b.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, r)
		}
		slices.SortStableFunc(expect, func(a, b want) int { return cmp.Compare(a.Time, b.Time) })
		m := NewMerger(readers, func(err error) { t.Error(err) })
		var got []want
		for p := m.Peek(); p != nil; p = m.Peek() {
			if m.Peek() != p {
				t.Fatal("peek takes")
			}
			got = append(got, want{p.Time, p.Link, p.Wire, string(p.Data)})
			m.Take()
		}
		if d := gocmp.Diff(expect, got); d != "" {
			t.Fatalf("%d files: (-want +got)\n%s", files, d)
		}
	}
}

// A damaged file leaves the others alone.
func TestMergeDamaged(t *testing.T) {
	whole := classic(binary.LittleEndian, true, traffic.LinkRaw)
	cut := classic(binary.LittleEndian, true, traffic.LinkRaw)
	for i := range int64(10) {
		whole.record(want{Time: noon + i, Data: "w"}, 1)
		cut.record(want{Time: noon + i, Data: "c"}, 1)
	}
	var readers []*Reader
	for _, b := range [][]byte{cut.Bytes()[:cut.Len()-20], whole.Bytes()} {
		r, err := NewReader("test", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	var failed []error
	m := NewMerger(readers, func(err error) { failed = append(failed, err) })
	n := 0
	for ; m.Peek() != nil; m.Take() {
		n++
	}
	if n != 18 || len(failed) != 1 {
		t.Errorf("%d packets, failures %v", n, failed)
	}
}

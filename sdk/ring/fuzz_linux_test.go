package ring

import (
	"errors"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// scribble plays a hostile peer: it takes pairs of a position and a length
// from the input and puts what follows into the header.
func scribble(header, input []byte) {
	for len(input) >= 3 {
		at := (int(input[0])<<8 | int(input[1])) % headerSize
		n := min(int(input[2])%9, len(input)-3, headerSize-at)
		copy(header[at:at+n], input[3:3+n])
		input = input[3+n:]
	}
}

// put is the input that makes scribble write a byte at a position.
func put(at int, v ...byte) []byte {
	return append([]byte{byte(at >> 8), byte(at), byte(len(v))}, v...)
}

func FuzzDeltaReader(f *testing.F) {
	f.Add([]byte{})
	f.Add(put(64, 9))
	f.Add(put(64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	f.Add(put(128, 5))
	f.Add(append(put(192, 1, 2, 3, 4, 5, 6, 7, 8), put(256, 1)...))
	f.Add(put(16, 0, 0, 0, 1))
	r, err := CreateDelta("fuzz", 8, 1)
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	clean := append([]byte(nil), r.m.mem[:headerSize]...)
	f.Fuzz(func(t *testing.T, input []byte) {
		copy(r.m.mem, clean)
		reader := &DeltaRing{name: r.name, file: r.file, m: r.m, h: r.h, capacity: r.capacity}
		w, err := OpenDelta(r.File())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		w.Write(make([]Delta, 6))
		buf := make([]Delta, 5)
		if n, err := reader.Read(buf); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		scribble(r.m.mem[:headerSize], input)
		head := r.h.head.Load()
		_, werr := reader.Wait(0)
		n, err := reader.Read(buf)
		honest := head >= 6 && head-5 <= 8
		if honest != (err == nil) || err != nil && !errors.Is(err, ErrCorrupt) || (werr == nil) != honest {
			t.Fatalf("head %d, tail 5: Read = %d, %v; Wait: %v", head, n, err, werr)
		}
		if honest && uint64(n) != min(head-5, 5) {
			t.Fatalf("head %d, tail 5: Read = %d", head, n)
		}
		reader.Stats()
		if n := w.Write(make([]Delta, 9)); n > 8 {
			t.Fatalf("Write = %d", n)
		}
		w.Publish(len(w.Reserve(9)))
		if free := w.Free(); free < 0 || free > 8 {
			t.Fatalf("Free = %d", free)
		}
		if other, err := OpenDelta(r.File()); err == nil {
			other.Write(buf)
			_ = other.Close()
		}
	})
}

func FuzzRecordReader(f *testing.F) {
	f.Add([]byte{})
	f.Add(put(64, 20))
	f.Add(put(72, 9))
	f.Add(put(80, 0xff, 0xff))
	f.Add(put(256, 0xff))
	f.Add(put(256, 1))
	f.Add(append(put(320, 6), put(64, 6)...))
	f.Add(append(put(384, 8), put(2304, 7)...))
	r, err := CreateRecord("fuzz", 8, 2, 1, 1)
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	clean := append([]byte(nil), r.m.mem...)
	f.Fuzz(func(t *testing.T, input []byte) {
		copy(r.m.mem, clean)
		w, err := OpenRecord(r.File(), []OnFailure{Drop, Bypass}, Patience)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var clock time.Duration
		w.now = func() time.Duration { return clock }
		ring := &recordRing{RecordRing: r, w: w}
		first, second, tap := openStage(t, ring, 0), openStage(t, ring, 1), openTap(t, ring, 0)
		buf := make([]traffic.Record, 16)
		var counted uint64
		for range 3 {
			ring.commit(5)
			for _, s := range []*Stage{first, second} {
				batch, err := s.Next(4)
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				s.Done(len(batch) / 2)
			}
			if _, err := first.Wait(0); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			scribble(r.m.mem[:headerSize], input)
			clock += 2 * Patience
			recs := w.Judged(100)
			for i := range recs {
				// No word in the header may change what the capture wrote.
				if !isNumbered(&recs[i], counted) {
					t.Fatalf("record %d reads %+v", counted, recs[i])
				}
				counted++
			}
			w.Advance(len(recs))
			if n, _, err := tap.Next(buf); n > 8 || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("tap: %d records, %v", n, err)
			}
			if _, err := tap.Wait(0); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
		// Both filters are ones that can be passed over, so whatever the header
		// says the capture gets its records back.
		w.Judged(0)
		clock += 2 * Patience
		counted += uint64(len(w.Judged(100)))
		if counted != ring.n {
			t.Fatalf("%d of %d records came back", counted, ring.n)
		}
		w.Wait(0)
		ring.Stats()
	})
}

package capfile

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzReader gives the reader anything. Whatever it is, reading ends, every
// packet keeps its bounds and time never goes back.
func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader("fuzz", bytes.NewReader(data))
		if err != nil {
			return
		}
		var (
			p    Packet
			last int64
		)
		for {
			err := r.Next(&p)
			var d *Damage
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.As(err, &d):
				if d.offset < 0 || d.what == "" {
					t.Fatalf("no place or no reason: %+v", d)
				}
				return
			case err != nil:
				t.Fatalf("neither the end nor damage: %v", err)
			}
			if p.Time < last || p.Time > Latest {
				t.Fatalf("time %d after %d", p.Time, last)
			}
			if len(p.Data) > bufferSize || p.Wire < len(p.Data) {
				t.Fatalf("%d octets of %d", len(p.Data), p.Wire)
			}
			last = p.Time
		}
	})
}

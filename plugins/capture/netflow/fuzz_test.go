package main

import (
	"encoding/binary"
	"testing"
)

// FuzzV5 gives the decoder datagrams of NetFlow v5.
func FuzzV5(f *testing.F) { fuzz(f, 5) }

// FuzzV9 gives the decoder datagrams of NetFlow v9.
func FuzzV9(f *testing.F) { fuzz(f, 9) }

// FuzzIPFIX gives the decoder datagrams of IPFIX.
func FuzzIPFIX(f *testing.F) { fuzz(f, 10) }

// fuzz decodes anything as datagrams of one version from one exporter. All it
// decodes must make sense, and what it holds must be bounded.
func fuzz(f *testing.F, version uint16) {
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t, 3, nil)
		for _, d := range unstream(data) {
			if len(d) >= 2 {
				d = append(binary.BigEndian.AppendUint16(nil, version), d[2:]...)
			}
			r.give(device, d)
		}
		r.check(t)
		r.tick(r.now + int64(holdTime))
		r.check(t)
		if r.held.Load() != 0 {
			t.Fatalf("%d octets are held for ever", r.held.Load())
		}
	})
}

// FuzzFile gives the reader of the templates' file anything.
func FuzzFile(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		st := newStore()
		if err := st.decode(data); err != nil {
			if len(st.domains)+len(st.definitions) > 0 {
				t.Fatal("something of a damaged file is kept")
			}
			// The sum guards the rest: put it right and try again.
			if n := len(data) - 4; n > len(fileMagic) {
				_ = st.decode(sealed(data[:n]))
			}
		}
		st.verify(t)
	})
}

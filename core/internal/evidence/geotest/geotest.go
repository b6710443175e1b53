// Package geotest makes small databases in MaxMind's format for tests.
package geotest

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// Database becomes a database in MaxMind's format (MaxMind DB File Format
// Specification 2.0): a binary tree of 24-bit records, data, metadata. Put
// fills it, Write writes it.
type Database struct {
	nodes [][2]uint32 // 0: nothing; odd numbers above are pointers into data
	data  []byte
}

const dataFlag = 1 << 30

// Put gives an IPv4 prefix its data, as Object makes it. No prefix may lie in
// another one.
func (m *Database) Put(prefix netip.Prefix, data []byte) {
	at := uint32(len(m.data))
	m.data = append(m.data, data...)
	if len(m.nodes) == 0 {
		m.nodes = append(m.nodes, [2]uint32{})
	}
	addr := prefix.Addr().As4()
	n := uint32(0)
	for bit := range prefix.Bits() {
		side := addr[bit/8] >> (7 - bit%8) & 1
		if bit == prefix.Bits()-1 {
			m.nodes[n][side] = dataFlag | at
			return
		}
		if m.nodes[n][side] == 0 {
			m.nodes = append(m.nodes, [2]uint32{})
			m.nodes[n][side] = uint32(len(m.nodes) - 1)
		}
		n = m.nodes[n][side]
	}
}

// Text is a string of at most 284 octets.
func Text(s string) []byte {
	if len(s) > 28 { // then a second octet says by how many more
		return append([]byte{2<<5 | 29, byte(len(s) - 29)}, s...)
	}
	return append([]byte{2<<5 | byte(len(s))}, s...)
}

// Number is an unsigned number of 32 bits.
func Number(n uint32) []byte {
	return append([]byte{6<<5 | 4}, binary.BigEndian.AppendUint32(nil, n)...)
}

// Object is a map of keys, each before its value.
func Object(pairs ...[]byte) (b []byte) {
	b = []byte{7<<5 | byte(len(pairs)/2)}
	for _, p := range pairs {
		b = append(b, p...)
	}
	return b
}

// Write writes the database into a new file of the test's own folder, and returns
// its path.
func (m *Database) Write(t testing.TB, name string) string {
	t.Helper()
	var b []byte
	count := uint32(len(m.nodes))
	for _, n := range m.nodes {
		for _, r := range n {
			switch {
			case r&dataFlag != 0:
				r = count + 16 + r&^dataFlag
			case r == 0:
				r = count
			}
			b = append(b, byte(r>>16), byte(r>>8), byte(r))
		}
	}
	b = append(append(b, make([]byte, 16)...), m.data...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	b = append(b, Object(
		Text("binary_format_major_version"), []byte{5<<5 | 1, 2}, Text("binary_format_minor_version"), []byte{5 << 5},
		Text("build_epoch"), []byte{0<<5 | 1, 9 - 7, 1}, Text("database_type"), Text("Test"), Text("description"), Object(),
		Text("ip_version"), []byte{5<<5 | 1, 4}, Text("languages"), []byte{0, 11 - 7}, Text("node_count"), Number(count),
		Text("record_size"), []byte{5<<5 | 1, 24},
	)...)
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

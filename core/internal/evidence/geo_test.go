package evidence

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// mmdb writes a database in MaxMind's format (MaxMind DB File Format
// Specification 2.0): a binary tree of 24-bit records, data, metadata. Each
// /8 of IPv4 in places has its own data.
type mmdb struct {
	nodes [][2]uint32 // 0: nothing; odd numbers above are pointers into data
	data  []byte
}

const dataFlag = 1 << 30

func (m *mmdb) put(prefix netip.Prefix, data []byte) {
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

// Types of the data section.
func text(s string) []byte {
	if len(s) > 28 { // then a second octet says by how many more
		return append([]byte{2<<5 | 29, byte(len(s) - 29)}, s...)
	}
	return append([]byte{2<<5 | byte(len(s))}, s...)
}

func number32(n uint32) []byte {
	return append([]byte{6<<5 | 4}, binary.BigEndian.AppendUint32(nil, n)...)
}

func object(pairs ...[]byte) (b []byte) {
	b = []byte{7<<5 | byte(len(pairs)/2)}
	for _, p := range pairs {
		b = append(b, p...)
	}
	return b
}

func (m *mmdb) write(t *testing.T, name string) string {
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
	b = append(b, object(
		text("binary_format_major_version"), []byte{5<<5 | 1, 2}, text("binary_format_minor_version"), []byte{5 << 5},
		text("build_epoch"), []byte{0<<5 | 1, 9 - 7, 1}, text("database_type"), text("Test"), text("description"), object(),
		text("ip_version"), []byte{5<<5 | 1, 4}, text("languages"), []byte{0, 11 - 7}, text("node_count"), number32(count),
		text("record_size"), []byte{5<<5 | 1, 24},
	)...)
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func databases(t *testing.T) []string {
	var countries, as mmdb
	countries.put(netip.MustParsePrefix("198.51.100.0/24"), object(text("country"), object(text("iso_code"), text("DE"))))
	countries.put(netip.MustParsePrefix("192.0.2.0/24"), object(text("country"), object(text("iso_code"), text("FR"))))
	as.put(netip.MustParsePrefix("198.51.0.0/16"), object(
		text("autonomous_system_number"), number32(64500), text("autonomous_system_organization"), text("Example\x1b[31m")))
	return []string{countries.write(t, "country.mmdb"), as.write(t, "asn.mmdb")}
}

func TestGeo(t *testing.T) {
	g, err := OpenGeo(databases(t))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for addr, want := range map[string]Place{
		"198.51.100.9": {"DE", 64500, "Example\x1b[31m"}, "198.51.7.1": {"", 64500, "Example\x1b[31m"},
		"192.0.2.1": {Country: "FR"}, "8.8.8.8": {}, "2001:db8::1": {},
	} {
		if got := g.Lookup(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
	var none *Geo
	if none.Lookup(netip.MustParseAddr("192.0.2.1")) != (Place{}) || none.Close() != nil {
		t.Error("without a database something is known")
	}
	if _, err := OpenGeo([]string{os.Args[0]}); err == nil {
		t.Error("a program is a database")
	}
}

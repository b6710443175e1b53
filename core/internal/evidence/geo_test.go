package evidence

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence/geotest"
)

func databases(t *testing.T) []string {
	var countries, as geotest.Database
	countries.Put(netip.MustParsePrefix("198.51.100.0/24"), geotest.Object(geotest.Text("country"), geotest.Object(geotest.Text("iso_code"), geotest.Text("DE"))))
	countries.Put(netip.MustParsePrefix("192.0.2.0/24"), geotest.Object(geotest.Text("country"), geotest.Object(geotest.Text("iso_code"), geotest.Text("FR"))))
	as.Put(netip.MustParsePrefix("198.51.0.0/16"), geotest.Object(
		geotest.Text("autonomous_system_number"), geotest.Number(64500), geotest.Text("autonomous_system_organization"), geotest.Text("Example\x1b[31m")))
	return []string{countries.Write(t, "country.mmdb"), as.Write(t, "asn.mmdb")}
}

func TestGeo(t *testing.T) {
	g, err := OpenGeo(databases(t))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Place{
		"198.51.100.9": {"DE", 64500, "Example\x1b[31m"}, "198.51.7.1": {"", 64500, "Example\x1b[31m"},
		"192.0.2.1": {Country: "FR"}, "8.8.8.8": {}, "2001:db8::1": {},
	} {
		if got := g.Lookup(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
	var none *Geo
	if none.Lookup(netip.MustParseAddr("192.0.2.1")) != (Place{}) {
		t.Error("without a database something is known")
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenGeo([]string{other}); err == nil {
		t.Error("any file is a database")
	}
}

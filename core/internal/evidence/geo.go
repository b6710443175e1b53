package evidence

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Geo answers where an address is, from files in MaxMind's format.
type Geo struct{ files []*maxminddb.Reader }

// Place is what is known of an address.
type Place struct {
	Country      string // ISO 3166-1, two letters
	AS           uint32
	Organization string
}

// OpenGeo reads databases into memory: of countries or cities, of AS numbers, or both. Of
// several that know the same the first one is asked.
func OpenGeo(paths []string) (*Geo, error) {
	g := &Geo{}
	for _, path := range paths {
		// Not mapped: a file that is cut short under a mapping ends the process.
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r, err := maxminddb.OpenBytes(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		g.files = append(g.files, r)
	}
	return g, nil
}

// record is what we read of a database's record, of whatever edition it is.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	AS           uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
}

// Lookup finds an address. A file that is damaged knows nothing.
func (g *Geo) Lookup(a netip.Addr) (p Place) {
	if g == nil {
		return p
	}
	for _, f := range g.files {
		var r record
		if f.Lookup(a).Decode(&r) != nil {
			continue
		}
		if p.Country == "" {
			p.Country = r.Country.Code
		}
		if p.AS == 0 {
			p.AS, p.Organization = r.AS, r.Organization
		}
	}
	return p
}

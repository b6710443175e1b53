package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// An attack on something wide is where its hostgroup or network is, without
// what belongs to others; of very many prefixes the busiest are sampled.
func TestAreaOfAttacks(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprintf("10.9.%d.0/24", 2*i)))
	}
	b := newCountBed(t, load(t, `
network "n" { prefixes = ["10.1.0.0/16", "10.3.0.0/16"] }
network "many" { prefixes = [`+strings.Join(many, ", ")+`] }
hostgroup "g" {
  networks = [network.n]
  threshold "t" {
    pps = 1000
  }
}
hostgroup "inside" {
  prefixes = ["10.1.7.0/24"]
  threshold "t" {
    pps = 1000000
  }
}
hostgroup "m" {
  networks = [network.many]
  threshold "t" {
    pps = 1000000
  }
}
`))
	b.run(time.Second, flow{src: "192.0.2.1", dst: "10.9.198.7", proto: 17, pps: 5000}, flow{src: "192.0.2.1", dst: "10.9.4.7", proto: 17, pps: 900},
		flow{src: "10.9.8.1", dst: "192.0.2.1", proto: 17, pps: 90000})
	b.serve()
	wide := func(scope, group, network, target, direction string) *sdk.Event {
		e := &sdk.Event{Crossing: sdk.Crossing{Scope: scope}, HostGroup: group, Network: network, Direction: direction}
		if target != "" {
			e.Target = netip.MustParsePrefix(target)
		}
		return e
	}
	for _, c := range []struct {
		name      string
		event     *sdk.Event
		want      string
		in, other string // addresses that are the attack's and are not
	}{
		{"a host", wide("host", "g", "n", "10.1.7.1/32", "incoming"), "[10.1.7.1/32]", "10.1.7.1", ""},
		{"a prefix with another hostgroup in it", wide("prefix", "g", "n", "10.1.0.0/20", "incoming"), "[10.1.0.0/20]", "10.1.6.1", "10.1.7.1"},
		{"a prefix of which only a part is the hostgroup's", wide("prefix", "inside", "n", "10.1.6.0/23", "incoming"), "[10.1.6.0/23]", "10.1.7.1", "10.1.6.1"},
		{"a prefix without", wide("prefix", "g", "n", "10.3.0.0/20", "incoming"), "[10.3.0.0/20]", "10.3.7.1", ""},
		{"a hostgroup", wide("hostgroup", "g", "n", "", "incoming"), "[10.1.0.0/16 10.3.0.0/16]", "10.3.1.1", "10.1.7.1"},
		{"the whole network", wide("network", "g", "n", "", "incoming"), "[10.1.0.0/16 10.3.0.0/16]", "10.1.7.1", ""},
		{"the busiest of many", wide("hostgroup", "m", "many", "", "incoming"), "[10.9.198.0/24 10.9.4.0/24]", "10.9.4.9", ""},
		{"the busiest the other way", wide("network", "m", "many", "", "outgoing"), "[10.9.8.0/24]", "10.9.8.1", ""},
	} {
		got := b.d.area(c.event)
		if fmt.Sprint(got.Prefixes) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got.Prefixes, c.want)
		}
		if mine := got.Mine == nil || got.Mine(netip.MustParseAddr(c.in)); !mine {
			t.Errorf("%s: %s is not its own", c.name, c.in)
		}
		if c.other != "" && (got.Mine == nil || got.Mine(netip.MustParseAddr(c.other))) {
			t.Errorf("%s: %s is its own", c.name, c.other)
		}
	}
	if got := widest([]netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")}); len(got) != 2 || !slices.Contains(got, netip.MustParsePrefix("10.1.0.0/16")) {
		t.Errorf("widest: %v", got)
	}
}

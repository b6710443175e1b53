package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// What gobgp refuses is tried again, announcements and withdrawals, and until
// then it is told of.
func TestSettleAgain(t *testing.T) {
	s := newSession(&settings{config: config{LocalAS: ourAS}}, &peerSettings{
		neighbor: neighbor{Address: "192.0.2.1"}, address: netip.MustParseAddr("192.0.2.1"), families: []bgp.RouteFamily{bgp.RF_IPv4_UC},
	}, hclog.NewNullLogger(), func() {})
	s.server = server.NewBgpServer(server.LoggerOption(quiet{})) // it refuses all until it speaks for an AS
	go s.server.Serve()
	speak := func() {
		t.Helper()
		if err := s.server.StartBgp(t.Context(), &api.StartBgpRequest{Global: &api.Global{Asn: ourAS, RouterId: "192.0.2.10", ListenPort: -1}}); err != nil {
			t.Fatal(err)
		}
	}
	stop := func() {
		t.Helper()
		if err := s.server.StopBgp(t.Context(), &api.StopBgpRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	defer stop()
	hop := netip.MustParseAddr("192.0.2.66")
	nlri := bgp.NewIPAddrPrefix(32, "203.0.113.5")
	r, err := newRoute(route{prefix: netip.MustParsePrefix("203.0.113.5/32"), nlri: nlri, attrs: announce.Attributes{NextHop: hop}})
	if err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		t.Helper()
		n := 0
		if err := s.server.ListPath(t.Context(), &api.ListPathRequest{
			TableType: api.TableType_GLOBAL, Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST},
		}, func(*api.Destination) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	cause := func(want string) {
		t.Helper()
		st, ok := s.where(r.key)
		if !ok || !strings.Contains(st.Cause, want) {
			t.Errorf("%+v, want %q", st, want)
		}
	}

	s.hold(map[routeKey]*route{r.key: r})
	cause("gobgp does not take the route")
	speak()
	if has() {
		t.Fatal("gobgp took the route")
	}
	s.again()
	if !has() {
		t.Fatal("the route is not announced")
	}
	cause("no session")

	stop()
	s.hold(map[routeKey]*route{})
	if left := s.left(r.key); !strings.Contains(left, "gobgp does not withdraw the route") {
		t.Errorf("left: %q", left)
	}
	speak()
	s.again()
	if left := s.left(r.key); left != "" || has() || len(s.routes) > 0 {
		t.Errorf("left: %q, routes %v", left, s.routes)
	}
}

package delivery_test

import (
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestPairs(t *testing.T) {
	s := sdktest.Snapshot(time.Unix(1, 0), 4)
	hosts := delivery.Hosts(&s)
	if len(hosts) != 4 || hosts[0].Host.String() != "10.0.0.0/32" || hosts[0].Family() != 4 || hosts[1].Family() != 6 || hosts[3].Network != "customers" {
		t.Fatalf("%+v", hosts)
	}
	if got, want := hosts[2].Outgoing.Of("udp"), s.Hosts[5].Counters[2]; got != want || hosts[2].Outgoing.Flows != s.Hosts[5].Flows {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := hosts[0].Incoming.Of("none"); got.PPS != 0 {
		t.Errorf("%+v", got)
	}
	s.Hosts = s.Hosts[1:] // the first one only sends
	if got := delivery.Hosts(&s)[0]; got.Incoming.Of("total").PPS != 0 || got.Outgoing.Of("total").PPS == 0 {
		t.Errorf("%+v", got)
	}
	networks := delivery.Scopes(s.Networks)
	if len(networks) != 3 || networks[0].CIDR() != "10.0.0.0/8" || networks[1].Family() != 6 || networks[2].CIDR() != "servers" {
		t.Errorf("%+v", networks)
	}
	if delivery.CheckLayout(nil, "fastnetmon").Err() != nil || delivery.CheckLayout(nil, "other").Err() == nil {
		t.Error("layouts")
	}
	for _, m := range delivery.CommunitySystem(&s) {
		if want := map[string]float64{"total_simple_packets_processed": 1000, "total_number_of_hosts": 4}[m.Name]; m.Value != want {
			t.Errorf("%+v", m)
		}
	}
}

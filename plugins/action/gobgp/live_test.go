package main

import (
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// written is how a peer writes the four routes of TestPeers.
type written struct{ v4, v6, rule4, rule6 string }

var peersWrite = map[string]written{
	"bird": {
		"203.0.113.5/32 BGP.next_hop: 192.0.2.66 (65001,666) (65535,666) (65535,65281)", "2001:db8:1::5/128 2001:db8::66 (65001,666) (65535,666)",
		"203.0.113.5/32; proto 17; sport 123; 0x80060000", "2001:db8:1::5/128; 17; 123; 0x80060000",
	},
	"gobgpd": {
		`203.0.113.5/32 "nexthop":"192.0.2.66" 4259906202 4294902426 4294967041`, `2001:db8:1::5/128 2001:db8::66 4259906202`,
		`203.0.113.5/32 udp source-port: ==123 "rate":0`, `2001:db8:1::5/128 udp source-port: ==123 "rate":0`,
	},
	"frr": {
		"203.0.113.5/32 192.0.2.66 65001:666 blackhole no-export", "2001:db8:1::5/128 2001:db8::66 65001:666 blackhole",
		"203.0.113.5/32 17 123 rate", "2001:db8:1::5/128 17 123 rate",
	},
}

// What is announced is in the peers' tables, and what is not wanted any more is
// not.
func TestPeers(t *testing.T) {
	peers := []*peer{bird(t, peerOptions{}), gobgpd(t, peerOptions{}), frr(t, peerOptions{})}
	h := sdktest.New(t, plugin(), speakTo("", peers...))
	w := watch(t, h)
	all := []sdk.Mitigation{
		mitigate("1", "203.0.113.5/32", "blackhole"), mitigate("2", "2001:db8:1::5/128", "blackhole"),
		mitigate("3", "203.0.113.5/32", "flowspec"), mitigate("4", "2001:db8:1::5/128", "flowspec"),
	}
	sync1(t, h, all...)
	for _, p := range peers {
		x := peersWrite[p.name]
		p.wantRoutes("ipv4", x.v4)
		p.wantRoutes("ipv6", x.v6)
		p.wantRoutes("ipv4-flowspec", x.rule4)
		p.wantRoutes("ipv6-flowspec", x.rule6)
	}
	for _, m := range all {
		st := w.want(m.ID, sdk.MitigationActive, "")
		if len(st.Peers) != len(peers) || st.Cause != "" {
			t.Errorf("%+v", st)
		}
	}
	sync1(t, h, all[1:3]...)
	w.want("1", sdk.MitigationReleased, "")
	w.want("4", sdk.MitigationReleased, "")
	for _, p := range peers {
		x := peersWrite[p.name]
		p.wantRoutes("ipv4")
		p.wantRoutes("ipv6", x.v6)
		p.wantRoutes("ipv4-flowspec", x.rule4)
		p.wantRoutes("ipv6-flowspec")
	}
	sync1(t, h)
	w.want("2", sdk.MitigationReleased, "")
	w.want("3", sdk.MitigationReleased, "")
	for _, p := range peers {
		p.wantRoutes("ipv6")
		p.wantRoutes("ipv4-flowspec")
	}
}

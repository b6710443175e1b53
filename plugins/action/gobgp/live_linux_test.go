package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
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
	"exabgp": {
		"203.0.113.5/32 192.0.2.66 65001 666 65535 65281", "2001:db8:1::5/128 2001:db8::66 65001 666",
		"203.0.113.5/32 udp 123 rate-limit:0", "2001:db8:1::5/128 udp 123 rate-limit:0",
	},
	"frr": {
		"203.0.113.5/32 192.0.2.66 65001:666 blackhole no-export", "2001:db8:1::5/128 2001:db8::66 65001:666 blackhole",
		"203.0.113.5/32 17 123 rate", "2001:db8:1::5/128 17 123 rate",
	},
}

// What is announced is in the peers' tables, and what is not wanted any more is
// not.
func TestPeers(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd", "vtysh") {
		return
	}
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

// The rules of all labels, and all that rules can do, are understood by each
// peer; routes have all the attributes that were asked for.
func TestAllRules(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd", "vtysh") {
		return
	}
	peers := []*peer{bird(t, peerOptions{}), gobgpd(t, peerOptions{}), frr(t, peerOptions{})}
	config := self() + `
		announce "limit" {
			then             = "rate-limit"
			bytes_per_second = 125000
		}
		announce "vrf" {
			then     = "redirect"
			redirect = "65001:100"
		}
		announce "scrubber" {
			then     = "redirect"
			redirect = "192.0.2.99"
		}
		announce "scrubber6" {
			then     = "redirect"
			redirect = "2001:db8::99"
		}
		announce "mark" {
			then = "mark"
			dscp = 8
		}
		announce "rich" {
			prefix               = "subnet"
			divert               = true
			no_export            = false
			next_hop             = "192.0.2.66"
			communities          = ["65001:1"]
			large_communities    = ["65001:2:3"]
			extended_communities = ["rt:65001:4"]
			med                  = 5
			as_path_prepend      = 2
		}
	`
	for _, p := range peers {
		config += neighborBlock(p, "")
	}
	h := sdktest.New(t, plugin(), config)
	w := watch(t, h)
	var all []sdk.Mitigation
	n4, n6 := 0, 0
	for i, label := range sdk.Labels() {
		if flowspec.ForEvent(&sdk.Event{Label: label}) == nil {
			continue
		}
		for _, target := range []string{fmt.Sprintf("203.0.113.%d/32", i), fmt.Sprintf("2001:db8:1::%x/128", i)} {
			m := mitigate(label+target, target, "flowspec")
			m.Event.Label = label
			all = append(all, m)
		}
		n4, n6 = n4+1, n6+1
	}
	for _, x := range []struct{ profile, target, label string }{
		{"limit", "198.51.100.1/32", "syn_flood"},
		{"limit", "2001:db8:2::1/128", "syn_flood"},
		{"vrf", "198.51.100.1/32", "udp_flood"},
		{"vrf", "2001:db8:2::1/128", "udp_flood"},
		{"mark", "198.51.100.1/32", "gre_flood"},
		{"mark", "2001:db8:2::1/128", "gre_flood"},
		{"scrubber", "198.51.100.1/32", "icmp_flood"},
		{"scrubber6", "2001:db8:2::1/128", "icmp_flood"},
	} {
		if strings.Contains(x.target, ":") {
			n6++
		} else {
			n4++
		}
		m := mitigate(x.profile+x.target, x.target, x.profile)
		m.Event.Label = x.label
		all = append(all, m)
	}
	all = append(all, mitigate("rich", "203.0.113.200/32", "rich"), mitigate("rich too", "203.0.113.201/32", "rich"))
	sync1(t, h, all...)
	for _, m := range all {
		w.want(m.ID, sdk.MitigationActive, "")
	}
	for _, p := range peers {
		for family, n := range map[string]int{"ipv4-flowspec": n4, "ipv6-flowspec": n6} {
			if !eventually(patience, func() bool { return len(p.routes(family)) == n }) {
				t.Errorf("%s has %d rules of %s, want %d: %q", p.name, len(p.routes(family)), family, n, p.routes(family))
			}
		}
		for family, wants := range map[string]map[string][]string{
			"ipv4-flowspec": {
				"bird":   {"0x80060000, 0x47f42400", "(generic, 0x8008fde9, 0x64)", "0x80090000, 0x8", "0x10c, 192.0.2.99"},
				"gobgpd": {`"rate":125000`, `"subtype":8`, `"subtype":9`, "192.0.2.99"},
				"frr":    {"FS:rate 125000", "redirect VRF RT:65001:100", "192.0.2.99", "FS:marking 8"},
			},
			"ipv6-flowspec": {
				"bird":   {"0x80060000, 0x47f42400", "(generic, 0x8008fde9, 0x64)", "0x80090000, 0x8"},
				"gobgpd": {`"rate":125000`, `"subtype":8`, `"subtype":9`, "2001:db8::99"},
				"frr":    {"FS:rate 125000", "redirect VRF RT:65001:100", "FS:marking 8", "UNK:0, 12"}, // redirection to an IPv6 address
			},
		} {
			rules := strings.Join(p.routes(family), "\n")
			for _, want := range wants[p.name] {
				if !strings.Contains(rules, want) {
					t.Errorf("%s: %s is missing in\n%s", p.name, want, rules)
				}
			}
		}
		p.wantRoutes("ipv4", map[string]string{
			"bird":   "203.0.113.0/24 65001 65001 65001 (65001,1) (65001, 2, 3) (rt, 65001, 4) med: 5",
			"gobgpd": `203.0.113.0/24 "asns":[65001,65001,65001] 4259905537 "LocalData2":3 65001 "metric":5`,
			"frr":    "203.0.113.0/24 65001 65001 65001 65001:1 65001:2:3 RT:65001:4 metric 5",
		}[p.name])
	}
	// Of two attacks in one subnet, one ends.
	sync1(t, h, all[:len(all)-1]...)
	w.want("rich too", sdk.MitigationReleased, "")
	sync1(t, h, all[len(all)-2])
	for _, p := range peers {
		p.wantRoutes("ipv4-flowspec")
		p.wantRoutes("ipv4", "203.0.113.0/24")
	}
}

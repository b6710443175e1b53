package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// frr is FRR's bgpd.
func frr(t *testing.T, o peerOptions) *peer {
	t.Helper()
	o.complete()
	dir := shortDir(t)
	var families strings.Builder
	for _, f := range []string{"ipv4 unicast", "ipv6 unicast", "ipv4 flowspec", "ipv6 flowspec"} {
		if o.noFlowSpec && strings.HasSuffix(f, "flowspec") {
			continue
		}
		fmt.Fprintf(&families, " address-family %s\n  neighbor %s activate\n exit-address-family\n", f, o.near)
	}
	distance := "ebgp-multihop 5"
	if o.near1 {
		distance = "ttl-security hops 1"
	}
	options := fmt.Sprintf(" neighbor %s passive\n", o.near)
	if o.connect {
		options = fmt.Sprintf(" neighbor %s timers connect 1\n", o.near)
	}
	if o.password != "" {
		options += fmt.Sprintf(" neighbor %s password %s\n", o.near, o.password)
	}
	if !o.restart {
		options += " bgp graceful-restart-disable\n"
	}
	writeFile(t, filepath.Join(dir, "bgpd.conf"), fmt.Sprintf(`hostname frr
log stdout
router bgp %[1]d
 bgp router-id %[2]s
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor %[3]s remote-as %[4]d
 neighbor %[3]s %[8]s
 neighbor %[3]s update-source %[5]s
%[6]s%[7]s`, o.as, newAddress(), o.near, ourAS, o.address, options, families.String(), distance))
	p := &peer{
		t: t, name: "frr", address: o.address, near: o.near, dir: dir, list: frrRoutes, brief: frrPrefixes,
		argv: []string{
			"/usr/lib/frr/bgpd", "-f", dir + "/bgpd.conf", "-p", "179", "-l", o.address, "-Z", "-n", "-S", "-i", dir + "/pid",
			"-A", "127.0.0.1", "-P", "0", "--vty_socket", dir,
		},
	}
	return p.start()
}

func frrRoutes(p *peer, family string) []string {
	vtysh := func(command string) string { return p.ask("vtysh", "--vty_socket", p.dir, "-c", command) }
	if f, ok := strings.CutSuffix(family, "-flowspec"); ok {
		text := vtysh("show bgp " + f + " flowspec detail")
		var out []string
		for _, part := range strings.Split(text, "BGP flowspec entry:")[1:] {
			out = append(out, strings.Join(strings.Fields(part), " "))
		}
		return out
	}
	var out []string
	for _, prefix := range frrPrefixes(p, family) {
		out = append(out, prefix+" "+strings.Join(strings.Fields(vtysh("show bgp "+family+" unicast "+prefix)), " "))
	}
	return out
}

func frrPrefixes(p *peer, family string) []string {
	var table struct {
		Routes map[string]json.RawMessage `json:"routes"`
	}
	text := p.ask("vtysh", "--vty_socket", p.dir, "-c", "show bgp "+family+" unicast json")
	if json.Unmarshal([]byte(text), &table) != nil {
		return nil
	}
	return slices.Collect(maps.Keys(table.Routes))
}

// exabgp is ExaBGP, which connects to us and writes down what it is told.
func exabgp(t *testing.T, o peerOptions) *peer {
	t.Helper()
	o.complete()
	dir := shortDir(t)
	writeFile(t, filepath.Join(dir, "write.sh"), fmt.Sprintf("#!/bin/sh\ncat >> %s/updates\n", dir))
	if err := os.Chmod(filepath.Join(dir, "write.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "exabgp.conf"), fmt.Sprintf(`
		process log {
			run %[1]s/write.sh;
			encoder json;
		}
		neighbor %[2]s {
			router-id %[3]s;
			local-address %[4]s;
			local-as %[5]d;
			peer-as %[6]d;
			connect 179;
			family { ipv4 unicast; ipv6 unicast; ipv4 flow; ipv6 flow; }
			api { processes [ log ]; receive { parsed; update; } }
		}
	`, dir, o.near, newAddress(), o.address, o.as, ourAS))
	p := &peer{
		t: t, name: "exabgp", address: o.address, near: o.near, dir: dir, list: exabgpRoutes,
		argv: []string{sdktest.Program(t, "exabgp"), dir + "/exabgp.conf"},
		env:  []string{"exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.api.cli=false", "exabgp.api.ack=false"},
	}
	return p.start()
}

// exabgpRoutes goes through all that ExaBGP has written down.
func exabgpRoutes(p *peer, family string) []string {
	family = map[string]string{"ipv4": "ipv4 unicast", "ipv6": "ipv6 unicast", "ipv4-flowspec": "ipv4 flow", "ipv6-flowspec": "ipv6 flow"}[family]
	data, err := os.ReadFile(filepath.Join(p.dir, "updates"))
	if err != nil {
		return nil
	}
	type nlri struct {
		NLRI   string `json:"nlri"`
		String string `json:"string"`
	}
	held := map[string]string{}
	for line := range strings.Lines(string(data)) {
		var m struct {
			Neighbor struct {
				Message struct {
					Update struct {
						Attribute json.RawMessage              `json:"attribute"`
						Announce  map[string]map[string][]nlri `json:"announce"`
						Withdraw  map[string][]nlri            `json:"withdraw"`
					} `json:"update"`
				} `json:"message"`
			} `json:"neighbor"`
		}
		if json.Unmarshal([]byte(line), &m) != nil {
			continue
		}
		u := m.Neighbor.Message.Update
		for _, n := range u.Withdraw[family] {
			delete(held, n.NLRI+n.String)
		}
		for hop, all := range u.Announce[family] {
			for _, n := range all {
				held[n.NLRI+n.String] = n.NLRI + n.String + " " + hop + " " + string(u.Attribute)
			}
		}
	}
	return slices.Collect(maps.Values(held))
}

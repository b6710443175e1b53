package main

import (
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const (
	ourSelf  = "local_as = 65001\nrouter_id = \"192.0.2.10\"\n"
	oneOther = "neighbor \"192.0.2.254\" {\n peer_as = 65002\n}\n"
	oneWay   = "announce \"b\" {\n next_hop = \"192.0.2.66\"\n}\n"
)

// Each mistake is told of where it is, in words that help.
func TestMistakes(t *testing.T) {
	with := func(parts ...string) string { return strings.Join(parts, "\n") }
	neighbor := func(text string) string {
		return with(ourSelf, oneWay, "neighbor \"192.0.2.254\" {\n peer_as = 65002\n"+text+"\n}")
	}
	routes := func(text string) string {
		return with(ourSelf, oneOther, "announce \"b\" {\n next_hop = \"192.0.2.66\"\n"+text+"\n}")
	}
	rules := func(text string) string { return with(ourSelf, oneOther, "announce \"b\" {\n"+text+"\n}") }
	for _, c := range []struct{ name, config, path, text string }{
		{"no announce", with(ourSelf, oneOther), "announce", "announce"},
		{"announce twice", with(ourSelf, oneOther, oneWay, oneWay), `announce["b"]`, "two announce blocks"},
		{"nobody", with(ourSelf, oneWay), "neighbor", "api ="},
		{"both", with(ourSelf, oneOther, oneWay, `api = "127.0.0.1:1"`), "api", "Leave out"},
		{"no as", with(`router_id = "192.0.2.10"`, oneOther, oneWay), "local_as", "local_as = 65001"},
		{"router id", with("local_as = 1", `router_id = "2001:db8::1"`, oneOther, oneWay), "router_id", "IPv4"},
		{"listen", with(ourSelf, `listen = ["192.0.2.10:0"]`, oneOther, oneWay), "listen[0]", "a port"},
		{"api address", with(`api = "gobgpd"`, oneWay), "api", "host:port"},
		{"api and as", with(`api = "127.0.0.1:1"`, "local_as = 1", oneWay), "local_as", "gobgpd has its own"},
		{"api key", with(`api = "127.0.0.1:1"`, `api_ca = "validate_test.go"`, `api_key = "x"`, oneWay), "api_cert", "together"},
		{"api ca", with(`api = "127.0.0.1:1"`, `api_server_name = "x"`, oneWay), "api_ca", "certificates"},
		{"api ca file", with(`api = "127.0.0.1:1"`, `api_ca = "/no/such/file"`, oneWay), "api_ca", "/no/such/file"},
		{"api prepend", with(`api = "127.0.0.1:1"`, "announce \"b\" {\n next_hop = \"192.0.2.66\"\n as_path_prepend = 2\n}"), `announce["b"].as_path_prepend`, "gobgpd"},
		{"neighbour name", with(ourSelf, oneWay, "neighbor \"router\" {\n peer_as = 1\n}"), `neighbor["router"]`, "looked up"},
		{"neighbour twice", with(ourSelf, oneWay, oneOther, oneOther), `neighbor["192.0.2.254"]`, "two neighbour"},
		{"peer as", with(ourSelf, oneWay, "neighbor \"192.0.2.1\" {\n peer_as = 0\n}"), `neighbor["192.0.2.1"].peer_as`, "AS number"},
		{"port", neighbor("port = 0"), `neighbor["192.0.2.254"].port`, "65535"},
		{"local address", neighbor(`local_address = "2001:db8::1"`), `neighbor["192.0.2.254"].local_address`, "near end"},
		{"password", neighbor(`password = "` + strings.Repeat("x", 81) + `"`), `neighbor["192.0.2.254"].password`, "80"},
		{"multihop", neighbor("multihop = 2\nttl_security = 2"), `neighbor["192.0.2.254"].multihop`, "exclude"},
		{"hold time", neighbor(`hold_time = "1s"`), `neighbor["192.0.2.254"].hold_time`, "3s"},
		{"connect retry", neighbor(`connect_retry = "1ms"`), `neighbor["192.0.2.254"].connect_retry`, "100ms"},
		{"restart", neighbor(`graceful_restart = "2h"`), `neighbor["192.0.2.254"].graceful_restart`, "4095s"},
		{"passive", neighbor("passive = true"), `neighbor["192.0.2.254"].passive`, "listen"},
		{"family", neighbor(`families = ["ipv4"]`), `neighbor["192.0.2.254"].families[0]`, "ipv4-unicast"},
		{"no family", neighbor(`families = []`), `neighbor["192.0.2.254"].families`, "ipv4-unicast"},
		{"prefix", routes(`prefix = "all"`), `announce["b"].prefix`, "subnet"},
		{"lengths", routes(`prefix_length = [24]`), `announce["b"].prefix_length`, "[24, 48]"},
		{"length", routes(`prefix_length = [0, 48]`), `announce["b"].prefix_length[0]`, "32"},
		{"length and subnet", routes("prefix_length = [24, 48]\nprefix = \"subnet\""), `announce["b"].prefix_length`, "Leave out"},
		{"community", routes(`communities = ["blackhole", "65536:1"]`), `announce["b"].communities[1]`, "65001:666"},
		{"large community", routes(`large_communities = ["1:2"]`), `announce["b"].large_communities[0]`, "three numbers"},
		{"extended community", routes(`extended_communities = ["1:2"]`), `announce["b"].extended_communities[0]`, "rt:65001:100"},
		{"prepend", routes("as_path_prepend = 21"), `announce["b"].as_path_prepend`, "20"},
		{"divert", routes("divert = true\ncommunities = [\"blackhole\"]"), `announce["b"].divert`, "drop"},
		{"next hop family", rules(`next_hop = "2001:db8::1"`), `announce["b"].next_hop`, "next_hop_v6"},
		{"next hop", rules(`next_hop = "127.0.0.1"`), `announce["b"].next_hop`, "unicast"},
		{"no next hop", rules(""), `announce["b"].next_hop`, "next_hop_v6"},
		{"rate without then", routes("dscp = 1"), `announce["b"].dscp`, "flow-spec"},
		{"then", rules(`then = "drop"`), `announce["b"].then`, "discard"},
		{"rate missing", rules(`then = "rate-limit"`), `announce["b"].bytes_per_second`, "needs"},
		{"rate 0", rules("then = \"rate-limit\"\nbytes_per_second = 0"), `announce["b"].bytes_per_second`, "discard"},
		{"dscp", rules("then = \"mark\"\ndscp = 64"), `announce["b"].dscp`, "63"},
		{"redirect", rules("then = \"redirect\"\nredirect = \"scrubber\""), `announce["b"].redirect`, "65001:100"},
		{"does not fit", rules("then = \"discard\"\ndscp = 1"), `announce["b"].dscp`, "discard"},
		{"next hop of rules", rules("then = \"discard\"\nnext_hop = \"192.0.2.1\""), `announce["b"].next_hop`, "routes"},
		{"empty match", rules("then = \"discard\"\nmatch {\n}"), `announce["b"].match[0].protocol`, "no condition"},
		{"protocol", rules("then = \"discard\"\nmatch {\n protocol = [\"quic\"]\n}"), `announce["b"].match[0].protocol`, "udp"},
		{"ports", rules("then = \"discard\"\nmatch {\n port = [\"10-1\"]\n}"), `announce["b"].match[0].port`, "range"},
		{"flags", rules("then = \"discard\"\nmatch {\n tcp_flags = [\"syn\", \"!syn\"]\n}"), `announce["b"].match[0].tcp_flags`, "same flag"},
		{"flag", rules("then = \"discard\"\nmatch {\n tcp_flags = [\"sin\"]\n}"), `announce["b"].match[0].tcp_flags`, "syn"},
		{"fragment", rules("then = \"discard\"\nmatch {\n fragment = [\"all\"]\n}"), `announce["b"].match[0].fragment`, "is-fragment"},
		{"sources", rules("then = \"discard\"\nmatch {\n source = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\n}"), `announce["b"].match[0].source`, "each family"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ds := sdktest.New(t, plugin(), c.config).Validate()
			if !ds.HasErrors() {
				t.Fatalf("it was accepted: %v", ds)
			}
			if d := ds[0]; d.Path.String() != c.path || !strings.Contains(d.Detail, c.text) || len(ds) != 1 {
				t.Errorf("at %s\n%v\nwant %s and %q", d.Path, ds, c.path, c.text)
			}
		})
	}
}

// What is odd, but may be meant so, is a warning.
func TestWarnings(t *testing.T) {
	for _, c := range []struct{ name, config, path, text string }{
		{"fine", ourSelf + oneOther + oneWay, "", ""},
		{"listen", ourSelf + oneOther + oneWay + `listen = ["192.0.2.10:179"]`, "listen", "passive"},
		{"internal", ourSelf + oneWay + "neighbor \"192.0.2.1\" {\n peer_as = 65001\n multihop = 3\n}", `neighbor["192.0.2.1"].multihop`, "nothing"},
		{"family of nobody", ourSelf + oneWay + "neighbor \"192.0.2.1\" {\n peer_as = 1\n families = [\"ipv4-unicast\"]\n}\nannounce \"f\" {\n then = \"discard\"\n}", `announce["f"]`, "ipv4-flowspec"},
		{"no v6 next hop", ourSelf + oneWay + "neighbor \"192.0.2.1\" {\n peer_as = 1\n families = [\"ipv4-unicast\", \"ipv6-unicast\"]\n}", `announce["b"]`, "next_hop_v6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ds := sdktest.New(t, plugin(), c.config).Validate()
			if ds.HasErrors() {
				t.Fatal(ds)
			}
			if c.path == "" {
				if len(ds) > 0 {
					t.Error(ds)
				}
				return
			}
			if len(ds) == 0 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Detail, c.text) {
				t.Errorf("%v, want %s and %q", ds, c.path, c.text)
			}
		})
	}
}

// Hostgroups may set some attributes, and are told what is wrong with theirs.
// What must not be cut off is protected.
func TestOverrideAndProtected(t *testing.T) {
	h := sdktest.New(t, plugin(), ourSelf+oneWay+"neighbor \"192.0.2.254\" {\n peer_as = 65002\n local_address = \"192.0.2.11\"\n}\nannounce \"f\" {\n then = \"redirect\"\n redirect = \"2001:db8::77\"\n}")
	one := func(name string, values ...string) map[string][]string { return map[string][]string{name: values} }
	result, ds := h.Override(
		host.Override{Profile: "b", Attributes: map[string][]string{
			"next_hop": {"192.0.2.67", "2001:db8::67"}, "communities": {"65001:1", "no-peer"}, "large_communities": {"1:2:3"},
			"extended_communities": {"rt:1:2"}, "local_pref": {"200"}, "med": {"5"},
		}},
		host.Override{Profile: "c", Attributes: one("med", "1")},
		host.Override{Profile: "b", Attributes: one("next_hops", "192.0.2.67")},
		host.Override{Profile: "b", Attributes: one("next_hop", "::1")},
		host.Override{Profile: "b", Attributes: one("next_hop", "192.0.2.1", "192.0.2.2")},
		host.Override{Profile: "b", Attributes: one("communities", "1")},
		host.Override{Profile: "b", Attributes: one("med", "1", "2")},
		host.Override{Profile: "f", Attributes: one("next_hop", "192.0.2.1")}, // for the hostgroup's other actions
		host.Override{Profile: "f", Attributes: one("next_hop", "192.0.2")},
	)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	for i, want := range []string{"", `no announce block "c"`, "hostgroups may set", "cannot be a next hop", "too many", "no community", "one number", "", "no address"} {
		if i >= len(result.OverrideErrors) || !strings.Contains(result.OverrideErrors[i], want) || want == "" && result.OverrideErrors[i] != "" {
			t.Errorf("%d: %q, want %q", i, result.OverrideErrors, want)
		}
	}
	var got []string
	for _, p := range result.Protected {
		got = append(got, p.String())
	}
	if want := "192.0.2.10/32 192.0.2.254/32 192.0.2.11/32 192.0.2.66/32 2001:db8::77/128"; strings.Join(got, " ") != want {
		t.Errorf("protected: %v, want %s", got, want)
	}
}

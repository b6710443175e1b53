package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	packet "github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The three filters of the tests below, and what each drops.
var (
	dropped = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/26"), netip.MustParsePrefix("2001:db8::/65")}
	byEach  = map[string]func(r *packet.Record) bool{
		"prefix.listed": func(r *packet.Record) bool {
			return slices.ContainsFunc(dropped, func(p netip.Prefix) bool { return p.Contains(r.DstAddr()) })
		},
		"bpf.dns":  func(r *packet.Record) bool { return r.Protocol == packet.ProtoUDP && r.SrcPort == 53 },
		"lua.long": func(r *packet.Record) bool { return r.Protocol == packet.ProtoTCP && r.Bytes > 1000 },
	}
)

// filtered is a configuration in which filters stand before the counting of
// some networks.
func filtered(t *testing.T, filters []string, networks ...string) string {
	t.Helper()
	script := write(t, "long.lua", "function filter(r) return not (r.protocol == 6 and r.length > 1000) end\n")
	var names []string
	for _, f := range filters {
		names = append(names, "filter."+f)
	}
	return write(t, "filtered.hcl", fmt.Sprintf(`
network "ours" {
  prefixes = ["%s"]
}
hostgroup "default" {
  networks = [network.ours]
  threshold "flood" {
    pps = 100000000
  }
}
filter "prefix" "listed" {
  match    = "destination"
  prefixes = ["203.0.113.0/26", "2001:db8::/65"]
}
filter "bpf" "dns" {
  expression = "not (udp and src port 53)"
}
filter "lua" "long" {
  script = %q
}
filter "lua" "same" {
  script = %q
}
filter "bpf" "same" {
  expression = "dst net 203.0.113.0/26 or 2001:db8::/65"
  then       = "drop"
}
filter "bpf" "others" {
  expression = "dst net (203.0.113.0/26 or 2001:db8::/65)"
}
pipeline "main" {
  filters = [%s]
}
`, strings.Join(networks, `", "`), script,
		write(t, "same.lua", "local listed = prefixes{\"203.0.113.0/26\", \"2001:db8::/65\"}\nfunction filter(r) return not listed:dst(r) end\n"),
		strings.Join(names, ", ")))
}

func finished(t *testing.T, args ...string) replayEvent {
	t.Helper()
	events := parseEvents(t, mustRun(t, append([]string{"replay", "--json"}, args...)...).stdout)
	last := events[len(events)-1]
	if last.Event != "replay.finished" || len(last.Ledger) != 1 {
		t.Fatalf("the last event is %+v", last)
	}
	row := last.Ledger[0]
	if row.Received != row.Used+row.Dropped["filtered"]+row.Dropped["not_ip"] {
		t.Errorf("the ledger does not balance: %+v", row)
	}
	return last
}

// The same traffic through each filter and through three in a row counts as a
// loop over its records does: by family and, of some hosts, by direction.
func TestFiltersAgainstOracle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "traffic.pcap")
	mustRun(t, "traffic", "--out", file, "--duration", "3s", "--hosts", "20", "--ipv6", "0.5")
	records := recordsOf(t, file)
	ours := []string{"203.0.113.0/24", "2001:db8::/64"}
	row := slices.Sorted(func(yield func(string) bool) {
		for name := range byEach {
			if !yield(name) {
				return
			}
		}
	})
	for _, filters := range [][]string{row[:1], row[1:2], row[2:], row} {
		t.Run(strings.Join(filters, " "), func(t *testing.T) {
			t.Parallel()
			kept := slices.DeleteFunc(slices.Clone(records), func(r packet.Record) bool {
				return slices.ContainsFunc(filters, func(f string) bool { return byEach[f](&r) })
			})
			families := map[string]volume{}
			hosts := map[netip.Addr][2]volume{}
			for i := range kept {
				r := &kept[i]
				name := map[bool]string{false: "ipv4", true: "ipv6"}[r.IsIPv6()]
				families[name] = volume{families[name].Packets + r.Packets, families[name].Bytes + r.Bytes}
				for side, a := range []netip.Addr{r.DstAddr(), r.SrcAddr()} {
					h := hosts[a]
					h[side].Packets += r.Packets
					h[side].Bytes += r.Bytes
					hosts[a] = h
				}
			}
			got := finished(t, "--config", filtered(t, filters, ours...), file)
			if len(kept) == len(records) || len(kept) == 0 || got.Families["ipv4"] != families["ipv4"] || got.Families["ipv6"] != families["ipv6"] {
				t.Errorf("counted %+v, want %+v: %d of %d records", got.Families, families, len(kept), len(records))
			}
			if len(filters) < len(row) {
				return
			}
			for _, family := range ours {
				host := busiest(hosts, netip.MustParsePrefix(family))
				got := finished(t, "--config", filtered(t, filters, netip.PrefixFrom(host, host.BitLen()).String()), file)
				if got.Directions["incoming"] != hosts[host][0] || got.Directions["outgoing"] != hosts[host][1] {
					t.Errorf("%v: counted %+v, want %+v", host, got.Directions, hosts[host])
				}
			}
		})
	}
}

func busiest(hosts map[netip.Addr][2]volume, in netip.Prefix) (best netip.Addr) {
	for a, h := range hosts {
		if in.Contains(a) && (!best.IsValid() || h[0].Packets+h[1].Packets > hosts[best][0].Packets+hosts[best][1].Packets) {
			best = a
		}
	}
	return best
}

func recordsOf(t *testing.T, file string) (out []packet.Record) {
	t.Helper()
	f, err := capfile.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var p capfile.Packet
		err := f.Next(&p)
		if errors.Is(err, io.EOF) {
			return out
		}
		var r packet.Record
		if err != nil {
			t.Fatal(err)
		}
		if (&packet.Parser{}).Frame(&r, p.Link, p.Data, p.Wire) == packet.OK {
			out = append(out, r)
		}
	}
}

// Of flows and samples the three filters say the same, and what they drop is
// what the opposite filter keeps, to the octet.
func TestFiltersOfFlows(t *testing.T) {
	dir := t.TempDir()
	for _, protocol := range []string{"netflow9", "sflow"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, protocol+".pcap")
			mustRun(t, "traffic", "--send", protocol, "--active", "1s", "--sampling", "10", "--out", file, "--duration", "3s", "--hosts", "20", "--ipv6", "0.5")
			through := strings.TrimSuffix(protocol, "9")
			total := func(filters ...string) replayEvent {
				return finished(t, "--config", filtered(t, filters, "203.0.113.0/24", "2001:db8::/64"), "--flows", through, file)
			}
			all, kept, rest := total(), total("prefix.listed"), total("bpf.others")
			if kept.Packets == 0 || rest.Packets == 0 || kept.Packets+rest.Packets != all.Packets || kept.Bytes+rest.Bytes != all.Bytes {
				t.Errorf("%d packets, of which %d and %d; %d octets, of which %d and %d", all.Packets, kept.Packets, rest.Packets, all.Bytes, kept.Bytes, rest.Bytes)
			}
			for _, other := range [][]string{{"bpf.same"}, {"lua.same"}, {"prefix.listed", "bpf.same", "lua.same"}} {
				if got := total(other...); got.Packets != kept.Packets || got.Bytes != kept.Bytes || got.Families["ipv6"] != kept.Families["ipv6"] {
					t.Errorf("%v: %d packets and %d octets, the first filter's are %d and %d", other, got.Packets, got.Bytes, kept.Packets, kept.Bytes)
				}
			}
			if none := total("prefix.listed", "bpf.others"); none.Packets != 0 {
				t.Errorf("%d packets pass two filters that exclude each other", none.Packets)
			}
		})
	}
}

// hooks are the original's two, written from its contract: both drop answers of
// name servers.
const hooks = `
local ffi = require("ffi")
ffi.cdef("typedef struct NF5_FLOW NF5_FLOW_t; typedef struct SFSample SFSample;")
function process_netflow(agent, flow)
  assert(agent:find("^%d+%.%d+%.%d+%.%d+$"), agent)
  local f = ffi.cast(ffi.typeof("NF5_FLOW_t*"), flow)
  return not (f.protocol == 17 and f.src_port == 53)
end
function process_sflow(agent, sample)
  assert(agent:find("^%d+%.%d+%.%d+%.%d+$"), agent)
  local s = ffi.cast("SFSample*", sample)
  return not (s.dcd_ipProtocol == 17 and s.dcd_sport == 53)
end
`

// The original's hooks, behind the captures of NetFlow and sFlow, drop what an
// expression drops, on both engines.
func TestOriginalHooksOfFlows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	engines := map[string]string{"gopher-lua": ""}
	switch missing := exec.Command("pkg-config", "--exists", "luajit").Run(); {
	case os.Getenv("CGO_ENABLED") == "0":
	case missing == nil:
		if err := buildPrograms(dir, "luajit", []string{"plugins/filter/lua"}); err != nil {
			t.Fatal(err)
		}
		engines["luajit"] = fmt.Sprintf("process {\npath = %q\n}", filepath.Join(dir, "lua"))
	case os.Getenv("CI") == "true":
		sdktest.Absent(t, "pkg-config finds no luajit")
	}
	script := write(t, "hooks.lua", hooks)
	for _, protocol := range []string{"netflow5", "netflow9", "sflow"} {
		file := filepath.Join(dir, protocol+".pcap")
		mustRun(t, "traffic", "--send", protocol, "--active", "1s", "--sampling", "10", "--out", file, "--duration", "3s", "--hosts", "20", "--ipv6", "0.5")
		through := strings.TrimRight(protocol, "59")
		networks := []string{"203.0.113.0/24", "2001:db8::/64"}
		all := finished(t, "--config", filtered(t, nil, networks...), "--flows", through, file)
		want := finished(t, "--config", filtered(t, []string{"bpf.dns"}, networks...), "--flows", through, file)
		if want.Packets == 0 || want.Packets == all.Packets {
			t.Errorf("%s: the expression keeps %d of %d packets", protocol, want.Packets, all.Packets)
		}
		for engine, process := range engines {
			config := write(t, "hooks.hcl", fmt.Sprintf(`
network "ours" {
  prefixes = ["%s"]
}
hostgroup "default" {
  networks = [network.ours]
}
filter "lua" "hooks" {
  script = %q
  engine = %q
  %s
}
pipeline "main" {
  filters = [filter.lua.hooks]
}
`, strings.Join(networks, `", "`), script, engine, process))
			got := finished(t, "--config", config, "--flows", through, file)
			if got.Packets != want.Packets || got.Bytes != want.Bytes || got.Families["ipv6"] != want.Families["ipv6"] {
				t.Errorf("%s on %s: %d packets and %d octets, want %d and %d", protocol, engine, got.Packets, got.Bytes, want.Packets, want.Bytes)
			}
		}
	}
}

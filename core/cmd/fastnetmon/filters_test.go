package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
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

package exporter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// path is what this machine (or network namespace) has made of packets on
// their way to sockets, as far as it tells.
type path struct {
	reverse  int64    // dropped by the reverse path filter
	vanished [2]int64 // IPv4, IPv6: neither delivered nor forwarded, nor dropped for a cause that is counted
	noPort   int64    // datagrams for ports at which nobody listens
}

// What is received and meets none of these ends has been dropped silently, as
// a firewall does. Multicasts that nobody has joined are too, all the time, so
// multicasts are left out. Fragments are received each and delivered as one.
var (
	ends4    = []string{"InHdrErrors", "InAddrErrors", "ForwDatagrams", "InUnknownProtos", "InDiscards", "InDelivers", "ReasmReqds"}
	endsExt4 = []string{"InNoRoutes", "InTruncatedPkts", "InMcastPkts", "InBcastPkts"}
	ends6    = []string{
		"Ip6InHdrErrors", "Ip6InTooBigErrors", "Ip6InNoRoutes", "Ip6InAddrErrors", "Ip6InUnknownProtos", "Ip6InTruncatedPkts", "Ip6InDiscards",
		"Ip6InDelivers", "Ip6OutForwDatagrams", "Ip6ReasmReqds", "Ip6InMcastPkts",
	}
)

// pathNow reads the counters of IP and UDP (RFC 4293, RFC 4113, and Linux's
// own): all are 0 where the system does not have them.
func pathNow() path {
	read := func(name string) []byte {
		b, _ := os.ReadFile("/proc/net/" + name) // without it nothing is told
		return b
	}
	return pathOf(append(read("snmp"), read("netstat")...), read("snmp6"))
}

// pathOf reads the formats of /proc/net/snmp and netstat, and of snmp6.
func pathOf(four, six []byte) path {
	p := path{reverse: counter(four, "TcpExt", "IPReversePathFilter"), noPort: counter(four, "Udp", "NoPorts") + counter6(six, "Udp6NoPorts")}
	v4 := counter(four, "Ip", "InReceives") + counter(four, "Ip", "ReasmOKs") - p.reverse
	for _, name := range ends4 {
		v4 -= counter(four, "Ip", name)
	}
	for _, name := range endsExt4 {
		v4 -= counter(four, "IpExt", name)
	}
	v6 := counter6(six, "Ip6InReceives") + counter6(six, "Ip6ReasmOKs")
	for _, name := range ends6 {
		v6 -= counter6(six, name)
	}
	p.vanished = [2]int64{v4, v6}
	return p
}

// firewalled is how many packets have vanished since an earlier look.
func (p *path) firewalled(before *path) int64 {
	return max(p.vanished[0]-before.vanished[0], 0) + max(p.vanished[1]-before.vanished[1], 0)
}

// counter finds a number in the format of /proc/net/snmp and netstat: pairs of
// lines of a group, one of names and one of values.
func counter(b []byte, group, name string) int64 {
	lines := bytes.Split(b, []byte("\n"))
	for i := 0; i+1 < len(lines); i++ {
		names, values := bytes.Fields(lines[i]), bytes.Fields(lines[i+1])
		if len(names) == 0 || len(values) == 0 || string(names[0]) != group+":" || !bytes.Equal(names[0], values[0]) {
			continue
		}
		for k := range min(len(names), len(values)) {
			if string(names[k]) == name {
				n, _ := strconv.ParseInt(string(values[k]), 10, 64) // 0 where it is no number
				return n
			}
		}
		i++
	}
	return 0
}

// counter6 finds a number in the format of /proc/net/snmp6: a name and a value
// a line.
func counter6(b []byte, name string) int64 {
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == name {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64) // 0 where it is no number
			return n
		}
	}
	return 0
}

// strictInterfaces says on which interfaces the reverse path filter is strict.
func strictInterfaces() string {
	files, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	if err != nil {
		return ""
	}
	var names []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == "1" {
			if name := filepath.Base(filepath.Dir(f)); name != "default" && name != "lo" {
				names = append(names, name)
			}
		}
	}
	if len(names) > 8 {
		names = append(names[:8], "and others")
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" and is strict on %s", strings.Join(names, ", "))
}

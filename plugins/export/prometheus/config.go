package main

import (
	"context"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Bounds of what can be configured.
const (
	maxTopHosts  = 10_000
	minMaxSeries = 100
	maxMaxSeries = 1_000_000
)

// config is the plugin's block.
type config struct {
	Listen       string   `hcl:"listen,optional" doc:"address and port of the HTTP server; 127.0.0.1:9209 unless set"`
	Path         string   `hcl:"path,optional" doc:"of the metrics; /metrics unless set"`
	TopHosts     int      `hcl:"top_hosts,optional" doc:"most hosts, and most attacks, with series of their own; 100 unless set"`
	MaxSeries    int      `hcl:"max_series,optional" doc:"most series in a scrape, whatever they are; 10000 unless set"`
	HostCounters []string `hcl:"host_counters,optional" doc:"counters shown for hosts; all unless set"`
}

var (
	pathShape    = regexp.MustCompile(`^/[A-Za-z0-9._~/-]+$`)
	counterShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	c := e.cfg
	if why := badAddress(c.Listen); why != "" {
		fail("listen", "Bad address", `%q %s. Write an address and a port, such as "127.0.0.1:9209" or "[::1]:9209"; ":9209" listens on all addresses.`, c.Listen, why)
	}
	if !pathShape.MatchString(c.Path) || path.Clean(c.Path) != c.Path {
		fail("path", "Bad path", `%q cannot be the path of the metrics. Write one such as "/metrics": letters, digits and -._~ between slashes, none at the end. "/" is the landing page.`, c.Path)
	}
	if c.TopHosts < 0 || c.TopHosts > maxTopHosts {
		fail("top_hosts", "Number out of range", "%d is not between 0 and %d.", c.TopHosts, maxTopHosts)
	}
	if c.MaxSeries < minMaxSeries || c.MaxSeries > maxMaxSeries {
		fail("max_series", "Number out of range", "%d is not between %d and %d.", c.MaxSeries, minMaxSeries, maxMaxSeries)
	}
	for i, name := range c.HostCounters {
		at := diag.Path{}.Attr("host_counters").Index(i)
		switch {
		case !counterShape.MatchString(name):
			ds = append(ds, diag.Errorf(at, "Bad name of a counter", "%q cannot be the name of a counter. Built-in ones are total, tcp, udp, icmp, tcp_syn, fragmented, dropped and exempt.", name))
		case slices.Contains(c.HostCounters[:i], name):
			ds = append(ds, diag.Errorf(at, "Counter named twice", "%q stands in the list already.", name))
		}
	}
	return ds.Err()
}

// badAddress says what is wrong with an address to listen on; "" means
// nothing. Names are not looked up: that would depend on the network.
func badAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is no address with a port"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "has no port between 0 and 65535"
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		if strings.Contains(host, ":") {
			return "has no valid IPv6 address"
		}
		return "has no IP address before its port"
	}
	return ""
}

package main

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var changing = regexp.MustCompile(`(?m)^(fastnetmon_snapshot_age_seconds) .*$|(goversion)="[^"]*"`)

// settled replaces what differs from one run to the next.
func settled(text string) string {
	return changing.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, "goversion") {
			return `goversion="go1"`
		}
		return "fastnetmon_snapshot_age_seconds 0"
	})
}

// scraped is a scrape with something of everything in it.
func scraped(t *testing.T) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	e, root := serve(t, defaults())
	export(t, e, sample())
	ended := attack("203.0.113.9/32", "incoming", "udp_flood", 1)
	ended.Type = sdk.AttackEnded
	updated := ended
	updated.Type = sdk.AttackUpdated
	if err := e.Events(t.Context(), append(sample().Attacks, updated, ended)); err != nil {
		t.Fatal(err)
	}
	return scrape(t, root)
}

func TestGolden(t *testing.T) {
	text, _ := scraped(t)
	sdktest.Golden(t, "testdata/metrics.txt", settled(text), *update)
}

func TestPromtoolCheckMetrics(t *testing.T) {
	text, _ := scraped(t)
	cmd := exec.CommandContext(t.Context(), sdktest.Program(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Bits of the snapshot are bytes in the metrics; types follow the names.
func TestValuesAndTypes(t *testing.T) {
	text, families := scraped(t)
	for series, want := range map[string]string{
		seriesName("fastnetmon_total_packets_per_second", "counter", "total", "direction", "incoming", "family", "ipv4"):                                                   "4000",
		seriesName("fastnetmon_total_bytes_per_second", "counter", "total", "direction", "incoming", "family", "ipv4"):                                                     "400000",
		seriesName("fastnetmon_total_flows_per_second", "direction", "other", "family", "ipv6"):                                                                            "6",
		seriesName("fastnetmon_host_packets_per_second", "counter", "tcp", "direction", "incoming", "host", "203.0.113.7", "hostgroup", "default", "network", "customers"): "1500",
		seriesName("fastnetmon_host_flows_per_second", "direction", "outgoing", "host", "2001:db8:1::/64", "hostgroup", "default", "network", "customers"):                 "10",
		seriesName("fastnetmon_attacks_open", "attack_type", "syn_flood", "direction", "incoming", "hostgroup", "default"):                                                 "2",
		seriesName("fastnetmon_attacks_started_total", "attack_type", "syn_flood", "direction", "incoming", "hostgroup", "default"):                                        "2",
		seriesName("fastnetmon_attacks_ended_total", "attack_type", "udp_flood", "direction", "incoming", "hostgroup", "default"):                                          "1",
		seriesName("fastnetmon_input_records_dropped_total", "cause", "record_ring_full", "input", "pcap.file"):                                                            "900",
		seriesName("fastnetmon_detection_delay_seconds_bucket", "le", "0.05"):                                                                                              "90",
		"fastnetmon_detection_delay_seconds_count": "100",
		"fastnetmon_deltas_total":                  "50000",
		"fastnetmon_series_limit":                  "10000",
	} {
		if got := value(t, text, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	for name, f := range families {
		want := dto.MetricType_GAUGE
		switch {
		case strings.HasSuffix(name, "_total"):
			want = dto.MetricType_COUNTER
		case name == "fastnetmon_detection_delay_seconds":
			want = dto.MetricType_HISTOGRAM
		}
		if f.GetType() != want || f.GetHelp() == "" || !strings.HasPrefix(name, "fastnetmon_") {
			t.Errorf("%s: type %v, want %v; help %q", name, f.GetType(), want, f.GetHelp())
		}
	}
}

// The README lists every metric with its type and labels, and no other.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(fastnetmon_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = m[2]
	}
	_, families := scraped(t)
	for name, f := range families {
		if strings.Contains(name, "something_") {
			continue
		}
		if got, want := documented[name], strings.ToLower(f.GetType().String()); got != want {
			t.Errorf("%s is a %s; the README says %q", name, want, got)
		}
		delete(documented, name)
	}
	for _, k := range known {
		delete(documented, "fastnetmon_"+k.name)
	}
	for name := range documented {
		t.Errorf("the README lists %s, which there is not", name)
	}
	for _, k := range known {
		if !strings.Contains(string(text), "| `fastnetmon_"+k.name+"` |") {
			t.Errorf("the README does not list fastnetmon_%s", k.name)
		}
	}
}

// Before the first snapshot there is little to show, but no error.
func TestWithoutSnapshot(t *testing.T) {
	_, root := serve(t, defaults())
	text, _ := scrape(t, root)
	if got := samples(text); got != ownSeries {
		t.Errorf("%d series, want %d:\n%s", got, ownSeries, text)
	}
	if value(t, text, "fastnetmon_snapshots_total") != "0" || value(t, text, "fastnetmon_export_scrapes_total") != "1" {
		t.Error(text)
	}
}

// What is not in the newest snapshot is gone.
func TestVanished(t *testing.T) {
	e, root := serve(t, defaults())
	export(t, e, sample())
	if text, _ := scrape(t, root); !strings.Contains(text, `host="203.0.113.7"`) {
		t.Fatal("the host is not shown")
	}
	s := sample()
	s.Hosts, s.Attacks = s.Hosts[1:2], nil
	export(t, e, s)
	text, _ := scrape(t, root)
	if strings.Contains(text, "203.0.113.7") || strings.Contains(text, "attacks_open") || !strings.Contains(text, `host="2001:db8::1"`) {
		t.Errorf("the new snapshot is not what is shown:\n%s", text)
	}
}

// Through the contract, and with the options of a block.
func TestThroughContract(t *testing.T) {
	h := sdktest.New(t, plugin(), `
		listen        = "127.0.0.1:0"
		host_counters = ["total", "udp"]
	`)
	if err := h.Export(sample()); err != nil {
		t.Fatal(err)
	}
	if err := h.Events(sample().Attacks); err != nil {
		t.Fatal(err)
	}
	if got := h.Health(); got.Message != "" {
		t.Errorf("health: %+v", got)
	}
}

func TestHostCounters(t *testing.T) {
	c := defaults()
	c.HostCounters = []string{"total", "udp"}
	e, root := serve(t, c)
	export(t, e, sample())
	_, families := scrape(t, root)
	seen := map[string]bool{}
	for _, m := range families["fastnetmon_host_packets_per_second"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "counter" {
				seen[l.GetValue()] = true
			}
		}
	}
	if len(seen) != 2 || !seen["total"] || !seen["udp"] {
		t.Errorf("counters of hosts: %v", seen)
	}
	if n := len(families["fastnetmon_total_packets_per_second"].GetMetric()); n != 8*8 {
		t.Errorf("%d totals, want all of %d", n, 8*8)
	}
}

// Two equal series are a mistake of whoever made the snapshot: all else is
// shown, and the mistake is counted.
func TestTwice(t *testing.T) {
	e, root := serve(t, defaults())
	s := sample()
	s.Networks = append(s.Networks, s.Networks[0])
	export(t, e, s)
	if text, _ := scrape(t, root); !strings.Contains(text, "fastnetmon_host_packets_per_second") {
		t.Error("the rest is missing")
	}
	text, _ := scrape(t, root)
	if got := value(t, text, "fastnetmon_export_scrape_errors_total"); got != "1" {
		t.Errorf("%s scrape errors, want 1 after the first", got)
	}
}

func TestPages(t *testing.T) {
	_, root := serve(t, defaults())
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{http.MethodGet, "/", 200, `<a href="/metrics">`},
		{http.MethodGet, "/metrics?name=x", 200, "fastnetmon_series"},
		{http.MethodGet, "/else", 404, "the metrics are at /metrics"},
		{http.MethodGet, "/metrics/", 404, "nothing here"},
		{http.MethodGet, "/debug/pprof/", 404, "nothing here"},
		{http.MethodHead, "/metrics", 405, ""},
		{http.MethodPost, "/metrics", 405, "only GET"},
		{http.MethodDelete, "/", 405, "only GET"},
	} {
		status, _, body := request(t, c.method, root+c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: status %d\n%.300s", c.method, c.path, status, body)
		}
	}
}

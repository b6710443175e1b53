package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var update = flag.Bool("update", false, "rewrite golden files")

// envPlugin makes the test binary the plugin.
const envPlugin = "FASTNETMON_TEST_EXPORT_PROMETHEUS"

func TestMain(m *testing.M) {
	if os.Getenv(envPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

// defaults are those of the plugin, on a port that the system chooses.
func defaults() config {
	return config{Listen: "127.0.0.1:0", Path: "/metrics", TopHosts: 100, MaxSeries: 10000}
}

// serve starts an exporter and returns its root's URL.
func serve(t *testing.T, c config) (*exporter, string) {
	t.Helper()
	e := newExporter(c, testLog(t))
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return e, "http://" + e.server.address.String()
}

// request returns the status, the content type and the body of an answer.
func request(t *testing.T, method, url string) (status int, contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// scrape gets the metrics and parses them.
func scrape(t *testing.T, root string) (text string, families map[string]*dto.MetricFamily) {
	t.Helper()
	status, contentType, text := request(t, http.MethodGet, root+"/metrics")
	if status != http.StatusOK || !strings.HasPrefix(contentType, "text/plain; version=0.0.4") {
		t.Fatalf("status %d, content type %q\n%.1000s", status, contentType, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%.1000s", err, text)
	}
	return text, families
}

// samples counts the series in a scrape's text.
func samples(text string) (n int) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// value returns the line's value, or fails.
func value(t *testing.T, text, series string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Errorf("there is no %s", series)
	return ""
}

func counters(pps float64) []sdk.CounterRate {
	var out []sdk.CounterRate
	for i, name := range []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"} {
		out = append(out, sdk.CounterRate{Counter: name, PPS: pps / float64(1+i), BPS: 8 * 100 * pps / float64(1+i)})
	}
	return out
}

// attack is an attack in progress.
func attack(target, direction, kind string, peak float64) sdk.Event {
	return sdk.Event{
		Type: sdk.AttackStarted, ID: target + direction, Target: netip.MustParsePrefix(target), Direction: direction,
		HostGroup: "default", Network: "customers", Mode: "monitor", AttackType: kind, PeakPPS: peak,
	}
}

// sample is a snapshot with something of everything.
func sample() sdk.Snapshot {
	s := sdk.Snapshot{
		Time: time.Unix(1_700_000_000, 0), Period: time.Second,
		Ledger: []sdk.LedgerRow{{
			Input: "pcap.file", Received: 100_000, Used: 99_000, InFlight: 10,
			Dropped: map[string]uint64{"record_ring_full": 900, "not_ip": 90},
		}},
		Attacks: []sdk.Event{
			attack("203.0.113.7/32", "incoming", "syn_flood", 99059),
			attack("203.0.113.8/32", "incoming", "syn_flood", 1000),
			attack("2001:db8::1/128", "outgoing", "udp_flood", 60000),
		},
		System: []sdk.Metric{
			{Name: "hosts", Value: 1234},
			{Name: "engine_bytes", Value: 1 << 20},
			{Name: "deltas", Value: 50000},
			{Name: "deltas_late", Value: 3},
			{Name: "deltas_refused", Value: 0},
			{Name: "hosts_evicted", Value: 7},
			{Name: "hosts_without_row", Value: 1},
			{Name: "hosts_displaced", Value: 5},
			{Name: "extras_refused", Value: 0},
			{Name: "alarms_held", Value: 0},
			{Name: "rings_quarantined", Value: 2},
			{Name: "plugin_up:plugin=capture.pcap.file", Value: 1},
			{Name: "plugin_up:plugin=export.prometheus.metrics", Value: 0},
			{Name: "plugin_restarts_total:plugin=capture.pcap.file", Value: 4},
			{Name: "plugin_events_dropped_total:plugin=export.prometheus.metrics", Value: 0},
			{Name: "plugin_events_summarized_total:plugin=action.script.notify", Value: 12},
			{Name: "detection_delay_seconds_bucket:le=0.05", Value: 90},
			{Name: "detection_delay_seconds_bucket:le=0.1", Value: 99},
			{Name: "detection_delay_seconds_bucket:le=+Inf", Value: 100},
			{Name: "detection_delay_seconds_sum", Value: 3.5},
			{Name: "detection_delay_seconds_count", Value: 100},
			{Name: "something_new", Value: 1.5},
			{Name: "something_else_total", Value: 6},
		},
	}
	for i, direction := range []string{"incoming", "outgoing", "internal", "other"} {
		for _, family := range []int{4, 6} {
			s.Totals = append(s.Totals, sdk.TotalRate{Direction: direction, Family: family, Counters: counters(float64(1000 * (i + family))), Flows: float64(family)})
		}
	}
	for _, direction := range []string{"incoming", "outgoing"} {
		s.Networks = append(s.Networks, sdk.ScopeRate{Name: "customers", Direction: direction, Counters: counters(5000), Flows: 12})
		s.Groups = append(s.Groups, sdk.ScopeRate{Name: "default", Direction: direction, Counters: counters(4000), Flows: 11})
		for i, host := range []string{"203.0.113.7/32", "2001:db8::1/128", "2001:db8:1::/64"} {
			s.Hosts = append(s.Hosts, sdk.HostRate{
				Host: netip.MustParsePrefix(host), Group: "default", Network: "customers", Direction: direction,
				Counters: counters(float64(3000 - i)), Flows: 10,
			})
		}
	}
	return s
}

// export hands over a snapshot.
func export(t *testing.T, e *exporter, s sdk.Snapshot) {
	t.Helper()
	if err := e.Export(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// seriesName writes the name of a series of the given labels.
func seriesName(name string, labels ...string) string {
	var parts []string
	for i := 0; i < len(labels); i += 2 {
		parts = append(parts, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func testLog(t *testing.T) hclog.Logger {
	t.Helper()
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: t.Output()})
}

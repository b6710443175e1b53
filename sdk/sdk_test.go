package sdk_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func TestConformance(t *testing.T) {
	for name, config := range map[string]string{
		"counter":  `packets = 10`,
		"ports":    `drop = 53`,
		"hello":    ``,
		"bgp":      `announce "edge" { next_hop = "192.0.2.1" }`,
		"recorder": ``,
	} {
		t.Run(name, func(t *testing.T) { sdktest.Conformance(t, testPlugins[name], config) })
	}
	t.Run("endless capture", func(t *testing.T) { sdktest.Conformance(t, countingCapture, "endless = true\nworkers = 2") })
}

func TestReplayCountsEveryRecord(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h := sdktest.New(t, countingCapture, "packets = 2500\nworkers = 2")
	c := h.RunReplay(ctx, sdktest.Plan("10.0.0.0/8"))
	if got := c.Packets(netip.MustParseAddr("10.0.0.1"), ring.Incoming); got != 5000 {
		t.Errorf("counted %d packets, want 5000", got)
	}
	var last ring.Flush
	finished := 0
	for _, f := range c.Flushes() {
		if f.Flags&ring.FlushFinished != 0 {
			finished++
			last = f
		}
	}
	if finished != 2 || last.Counted != 2500 || last.DroppedTotal != 25 {
		t.Errorf("%d finished flushes, the last one is %+v", finished, last)
	}
}

func TestLiveCapture(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h := sdktest.New(t, countingCapture, "endless = true")
	c := h.StartCapture(sdktest.Plan("10.0.0.0/8"))
	err := c.Wait(ctx, func(deltas []ring.Delta) bool {
		for _, d := range deltas {
			if d.Kind == ring.KindHost && d.Packets > 0 {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	health := h.Health()
	for ctx.Err() == nil && (len(health.Workers) != 1 || health.Workers[0].Received == 0) {
		health = h.Health() // of a busy worker it may tell what it saw last
	}
	if health.State != host.Running || len(health.Workers) != 1 || health.Workers[0].Received == 0 || health.Workers[0].Dropped["unknown"] == 0 {
		t.Errorf("health is %+v", health)
	}
	if err := c.Drain(); err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, d := range c.Deltas() {
		if d.Kind == ring.KindHost && d.Direction == ring.Incoming {
			sum += d.Packets
		}
	}
	flushes := c.Flushes()
	if last := flushes[len(flushes)-1]; last.Counted != sum {
		t.Errorf("after draining the deltas hold %d packets, the ledger counted %d", sum, last.Counted)
	}
}

func TestStatesOfACapture(t *testing.T) {
	for config, want := range map[string]host.State{
		"packets = 1":                      host.Finished,
		"packets = 1\nfail = \"no cable\"": host.Failed,
	} {
		h := sdktest.New(t, countingCapture, config)
		h.StartCapture(sdktest.Plan("10.0.0.0/8"))
		var got host.Health
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && got.State != want; {
			got = h.Health()
		}
		if got.State != want {
			t.Errorf("%q: state is %v (%s), want %v", config, got.State, got.Message, want)
		}
		if want == host.Failed && !strings.Contains(got.Message, "no cable") {
			t.Errorf("message is %q", got.Message)
		}
	}
}

func TestSample(t *testing.T) {
	h := sdktest.New(t, countingCapture, "endless = true")
	got, err := h.Sample(sdk.SampleRequest{Target: netip.MustParsePrefix("10.0.0.1/32"), Limit: 3, For: time.Second})
	if err != nil || len(got) != 3 || string(got[2].Data) != "10.0.0.1/32" || got[2].WireLen != 102 || got[2].Link != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestJudge(t *testing.T) {
	h := sdktest.New(t, portFilter, `drop = 53`)
	got, err := h.Judge([]traffic.Record{{DstPort: 53}, {DstPort: 54}})
	if err != nil || got[0].Verdict != traffic.VerdictDrop || got[1].Verdict != traffic.VerdictNone {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNotifyOutcomes(t *testing.T) {
	for _, c := range []struct {
		fail, want string
		retry      bool
	}{
		{"", "", false},
		{"once", "busy", true},
		{"for ever", "no such person", false},
		{"panic", "the plugin panicked: out of words", false},
	} {
		h := sdktest.New(t, helloAction, `fail = "`+c.fail+`"`)
		err := h.Notify(sdktest.Event())
		if c.want == "" {
			if err != nil {
				t.Errorf("Notify: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || sdk.IsRetry(err) != c.retry {
			t.Errorf("%s: got %v (retry %v)", c.fail, err, sdk.IsRetry(err))
		}
		if _, err := h.Table("x"); err != nil {
			t.Errorf("%s: the plugin does not go on: %v", c.fail, err)
		}
	}
}

func TestDiagnosticsPointAtAttributes(t *testing.T) {
	for _, c := range []struct {
		plugin       sdk.Plugin
		config, want string
	}{
		{helloAction, `greeting = ""`, "greeting: Empty greeting: Say something."},
		{countingCapture, `workers = 9`, "workers: Too many workers: 9 are wanted, at most 8 are possible."},
		{countingCapture, `packets = 1.5`, `packets: Number out of range: "1.5" must be a whole number from 0 to 18446744073709551615.`},
		{
			mitigatingAction, "announce \"a\" { next_hop = \"192.0.2.1\" }\nannounce \"b\" { next_hop = \"nowhere\" }",
			`announce[1].next_hop: Invalid address: "nowhere" is not an IP address, such as "192.0.2.1" or "2001:db8::1".`,
		},
	} {
		diags := sdktest.New(t, c.plugin, c.config).Configure()
		if len(diags) != 1 || diags[0].Error() != c.want {
			t.Errorf("%s %s:\n got %v\nwant %s", c.plugin.Name, c.config, diags, c.want)
		}
	}
}

func TestMitigator(t *testing.T) {
	h := sdktest.New(t, mitigatingAction, `announce "edge" { next_hop = "192.0.2.1" }`)
	at := time.Unix(1700000000, 5).UTC()
	if err := h.Sync([]sdk.Mitigation{{ID: "m1", Profile: "edge", Requested: at}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got sdk.MitigationStatus
	if err := h.WatchMitigations(ctx, func(s sdk.MitigationStatus) { got = s; cancel() }); err != nil {
		t.Fatal(err)
	}
	if want := (sdk.MitigationStatus{ID: "m1", State: sdk.MitigationActive, Cause: "edge", Time: at}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	findings, err := h.Inspect(sdk.Evidence{Event: sdktest.Event(), Frames: make([]sdk.Sample, 3)})
	if err != nil || len(findings) != 1 || findings[0] != (sdk.Finding{Label: "udp", Confidence: 0.5, Detail: "3"}) {
		t.Errorf("findings are %+v, %v", findings, err)
	}
}

func TestHealthIsTold(t *testing.T) {
	h := sdktest.New(t, recordingExport, "")
	h.Start()
	if got := h.Health(); got.State != host.Unhealthy || got.Message != "the database is slow" {
		t.Errorf("health is %+v", got)
	}
}

func TestFeaturesAreKnownWithoutBuilding(t *testing.T) {
	for name, want := range map[string]string{
		"counter":  "sampler workers",
		"ports":    "",
		"hello":    "notifier table",
		"bgp":      "notifier mitigator unchanged inspector",
		"recorder": "tap health",
	} {
		d := sdktest.New(t, testPlugins[name], "").Describe()
		if got := strings.Join(d.Features, " "); got != want {
			t.Errorf("%s: features are %q, want %q", name, got, want)
		}
	}
}

func TestRetry(t *testing.T) {
	if sdk.Retry(nil) != nil {
		t.Error("Retry(nil) is an error")
	}
	cause := errors.New("x")
	if err := sdk.Retry(cause); !sdk.IsRetry(err) || !errors.Is(err, cause) || sdk.IsRetry(cause) {
		t.Error("Retry does not wrap")
	}
}

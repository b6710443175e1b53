package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// stopTime is how soon a plugin must stop when it is told to.
const stopTime = 2 * time.Second

// Conformance checks that p keeps the contract: that it describes itself
// completely, takes config (the body of its block in HCL, which must be
// valid) and nothing else, keeps the order of calls, stops within two seconds,
// leaves no goroutine behind and prints nothing to standard output. It starts
// the plugin several times and makes it do its work: config must be one with
// which that does no harm. Run no test beside it.
func Conformance(t *testing.T, p sdk.Plugin, config string) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, p sdk.Plugin, config string)
	}{
		{"describe", describes},
		{"schema", hasSchema},
		{"refuses unknown attribute", refusesUnknown},
		{"validate keeps nothing", validates},
		{"order of calls", keepsOrder},
		{"drain", drains},
		{"work", works},
		{"stops in time", stops},
	} {
		t.Run(c.name, func(t *testing.T) {
			quiet := watchStdout(t)
			before := goroutines()
			c.run(t, p, config)
			t.Cleanup(func() { // after the harness has closed: cleanups run last in, first out
				checkLeaks(t, before)
				quiet()
			})
		})
	}
}

// with runs f with a harness and closes it.
func with(t *testing.T, p sdk.Plugin, config string, f func(h *Harness)) {
	t.Helper()
	h := New(t, p, config)
	defer h.Close()
	f(h)
}

func describes(t *testing.T, p sdk.Plugin, config string) {
	var texts [2][]byte
	for i := range texts {
		with(t, p, config, func(h *Harness) {
			d := h.Describe()
			if d.Summary == "" {
				t.Error("Plugin.Summary is empty: say in a line what the plugin does")
			}
			var err error
			if texts[i], err = json.Marshal(d); err != nil {
				t.Fatal(err)
			}
			again, err := host.ParseDescription(texts[i])
			if err != nil {
				t.Fatalf("the description's JSON cannot be read: %v", err)
			}
			if b, _ := json.Marshal(again); !bytes.Equal(b, texts[i]) {
				t.Errorf("the description changes in a round trip:\n%s\n%s", texts[i], b)
			}
		})
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Errorf("two descriptions differ:\n%s\n%s", texts[0], texts[1])
	}
}

func hasSchema(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		value, diags := h.decode(config)
		if diags.HasErrors() {
			t.Fatalf("config does not fit the schema: %v", diags)
		}
		if want := h.Describe().Schema.ImpliedType(); !value.Type().Equals(want) {
			t.Errorf("the decoded value has type %#v, want %#v", value.Type(), want)
		}
		if diags := h.Configure(); diags.HasErrors() {
			t.Errorf("the plugin refuses config:\n%v", diags)
		}
		for _, a := range h.Describe().Schema.Attributes {
			if a.Summary == "" {
				t.Logf("attribute %s has no doc tag", a.Name)
			}
		}
	})
}

func refusesUnknown(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config+"\nno_such_attribute = 1\n", func(h *Harness) {
		if !h.Configure().HasErrors() {
			t.Error("an unknown attribute was accepted")
		}
	})
}

func validates(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		if diags := h.Validate(); diags.HasErrors() {
			t.Fatalf("the plugin refuses config:\n%v", diags)
		}
		wantOutOfOrder(t, h, "Start after a mere validation")
	})
}

// wantOutOfOrder wants Start to be refused.
func wantOutOfOrder(t *testing.T, h *Harness, what string) {
	t.Helper()
	ctx, cancel := h.call()
	defer cancel()
	if diags, err := h.plugin.Start(ctx); err == nil {
		t.Errorf("%s was not refused (diagnostics: %v)", what, diags)
	}
}

func keepsOrder(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		wantOutOfOrder(t, h, "Start before Configure")
		for range 2 {
			if diags := h.Configure(); diags.HasErrors() {
				t.Fatalf("Configure before Start must be possible twice:\n%v", diags)
			}
		}
		h.Start()
		wantOutOfOrder(t, h, "Start after Start")
		if _, _, err := h.tryConfigure(false); err == nil {
			t.Error("Configure after Start was not refused")
		}
		if diags := h.Validate(); diags.HasErrors() {
			t.Errorf("a running plugin refuses to validate:\n%v", diags)
		}
		drain(t, h)
		wantOutOfOrder(t, h, "Start after Drain")
		h.Start() // configures: a drained plugin can be used again
	})
}

func drain(t *testing.T, h *Harness) {
	t.Helper()
	began := time.Now()
	if err := h.Drain(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if d := time.Since(began); d > stopTime {
		t.Errorf("Drain took %v, want at most %v", d, stopTime)
	}
}

func drains(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		drain(t, h)
		if diags := h.Configure(); diags.HasErrors() {
			t.Fatalf("the plugin refuses config:\n%v", diags)
		}
		drain(t, h)
		h.Start()
		drain(t, h)
		drain(t, h)
	})
}

// works has the plugin do once what its kind and features promise. Errors of
// the work itself are no breach: the servers it needs may be absent.
func works(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		d := h.Describe()
		switch d.Kind {
		case host.KindCapture:
			c := h.StartCapture(Plan("10.0.0.0/8"))
			if got := h.Health(); got.State == host.Failed {
				t.Errorf("Run failed: %s", got.Message)
			}
			if err := c.Drain(); err != nil {
				t.Error(err)
			}
			return
		case host.KindFilter:
			judges(t, h)
		case host.KindExport:
			note(t, "Export", h.Export(sdk.Snapshot{Time: time.Unix(1, 0), Period: time.Second}))
			note(t, "Events", h.Events([]sdk.Event{Event()}))
		}
		if d.Has(host.FeatureNotifier) {
			note(t, "Notify", h.Notify(Event()))
		}
		if d.Has(host.FeatureMitigator) {
			note(t, "Sync", h.Sync(nil))
		}
		if d.Has(host.FeaturePreview) {
			_, err := h.Preview(Mitigation())
			note(t, "Preview", err)
		}
		if d.Has(host.FeatureInspector) {
			_, err := h.Inspect(sdk.Evidence{Event: Event()})
			note(t, "Inspect", err)
		}
		h.Start()
		if got := h.Health(); got.State == 0 {
			t.Error("the plugin reports no state")
		}
	})
}

// note logs an error of the plugin's work; a panic is a breach.
func note(t *testing.T, call string, err error) {
	t.Helper()
	switch {
	case err != nil && strings.Contains(err.Error(), "panicked"):
		t.Errorf("%s: %v", call, err)
	case err != nil:
		t.Logf("%s: %v", call, err)
	}
}

// judges wants a filter to write nothing but verdicts, classes and sampling
// rates.
func judges(t *testing.T, h *Harness) {
	t.Helper()
	in := make([]traffic.Record, 100)
	for i := range in {
		in[i] = traffic.Record{
			Src: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).As16(), Dst: netip.AddrFrom4([4]byte{10, 0, 0, 1}).As16(),
			Packets: 1, Bytes: uint64(60 + i), SrcPort: uint16(i), DstPort: 53, Protocol: []uint8{1, 6, 17}[i%3],
		}
	}
	out, err := h.Judge(in)
	note(t, "Judge", err)
	for i := range out {
		if v := out[i].Verdict; v > traffic.VerdictDrop {
			t.Errorf("record %d: verdict %d is unknown", i, v)
		}
		out[i].Verdict, out[i].Class, out[i].Sampling = 0, 0, in[i].Sampling
		if err == nil && out[i] != in[i] {
			t.Errorf("record %d: the filter changed more than verdict, class and sampling", i)
		}
	}
	if _, err := h.Judge(nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

// stops wants streams and work under way to end when the plugin is drained.
func stops(t *testing.T, p sdk.Plugin, config string) {
	with(t, p, config, func(h *Harness) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		switch d := h.Describe(); {
		case d.Has(host.FeatureMitigator):
			h.Start()
			go func() { ended <- h.plugin.WatchMitigations(ctx, func(sdk.MitigationStatus) {}) }()
		case d.Kind == host.KindCapture:
			c := h.StartCapture(Plan("10.0.0.0/8"))
			go func() { ended <- h.plugin.Watch(ctx, time.Second, func(host.Health) {}) }()
			defer c.stop()
		default:
			h.Start()
			go func() { ended <- h.plugin.Watch(ctx, time.Second, func(host.Health) {}) }()
		}
		drain(t, h)
		select {
		case err := <-ended:
			if err != nil {
				t.Logf("Watch ended with: %v", err)
			}
		case <-time.After(stopTime):
			t.Errorf("Watch has not ended %v after Drain", stopTime)
		}
	})
}

// Mitigation is one to try plugins with: of the attack that Event tells of,
// without a profile.
func Mitigation() sdk.Mitigation {
	e := Event()
	return sdk.Mitigation{
		ID: "m-1", AttackID: e.ID, Target: e.Target, Direction: e.Direction, Event: e, Requested: e.Time,
		Subnet: netip.MustParsePrefix("10.0.0.0/24"),
	}
}

// Event is an event to try plugins with: an attack on 10.0.0.1 has started.
func Event() sdk.Event {
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	crossing := sdk.Crossing{
		Threshold: "flood", Scope: "host", Counter: "udp", Unit: "pps", Value: 30000, Limit: 20000,
		Window: 5 * time.Second, Rule: "average", At: at,
	}
	return sdk.Event{
		Type: sdk.AttackStarted, ID: "0123456789abcdef", Seq: 1, Time: at, Started: at,
		Target: netip.MustParsePrefix("10.0.0.1/32"), Direction: "incoming", HostGroup: "default", Network: "customers",
		Pipeline: "main", Mode: "enforce", Revision: "00000000000000aa",
		Crossing: crossing, AttackType: "udp_flood", Protocol: "udp", Crossed: []sdk.Crossing{crossing},
		PeakPPS: 30000, InitialPPS: 30000,
		Incoming: []sdk.CounterRate{{Counter: "total", PPS: 30000, BPS: 2.4e8}, {Counter: "udp", PPS: 30000, BPS: 2.4e8}},
		Outgoing: []sdk.CounterRate{{Counter: "total", PPS: 10, BPS: 8000}},
		Flows:    [2]float64{1000, 1},
	}
}

// watchStdout puts a pipe in the place of standard output; the function it
// returns puts it back and wants nothing to have been printed.
func watchStdout(t *testing.T) func() {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	read := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(r)
		read <- b
	}()
	return func() {
		os.Stdout = old
		_ = w.Close()
		if b := <-read; len(b) > 0 {
			t.Errorf("the plugin printed to standard output: %q; use Env.Logger", b)
		}
		_ = r.Close()
	}
}

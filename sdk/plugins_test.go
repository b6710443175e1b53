package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Tiny plugins of every kind. The test binary serves them when envPlugin names
// one.

const envPlugin = "SDK_TEST_PLUGIN"

var testPlugins = map[string]sdk.Plugin{
	"counter":  countingCapture,
	"ports":    portFilter,
	"hello":    helloAction,
	"bgp":      mitigatingAction,
	"recorder": recordingExport,
	"chatter":  chattyAction,
	"broken":   {Name: "broken", Version: "1", Summary: "names no factory"},
}

func TestMain(m *testing.M) {
	if p, ok := testPlugins[os.Getenv(envPlugin)]; ok {
		sdk.Serve(p)
	}
	os.Exit(m.Run())
}

// A capture that makes up records.

type captureConfig struct {
	Packets uint64 `hcl:"packets,optional" doc:"how many to make up"`
	Workers int    `hcl:"workers,optional" doc:"how many workers make them"`
	Endless bool   `hcl:"endless,optional" doc:"go on until stopped"`
	Fail    string `hcl:"fail,optional" doc:"fail with this error"`
}

type capture struct{ config captureConfig }

func (c *capture) Workers() int     { return c.config.Workers }
func (c *capture) Causes() []string { return []string{"too short", "unknown"} }

func (c *capture) Run(ctx context.Context, w *sdk.Writer) error {
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := uint64(0); c.config.Endless || i < c.config.Packets; i++ {
		if ctx.Err() != nil {
			return nil
		}
		w.Reserve(1)[0] = traffic.Record{
			Src: netip.MustParseAddr("198.51.100.1").As16(), Dst: netip.MustParseAddr("10.0.0.1").As16(),
			Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, Sampling: 1,
			Time: start.Add(time.Duration(i) * time.Millisecond).UnixNano(),
		}
		w.Commit(1, nil)
		if i%100 == 0 {
			w.Dropped(1, 1)
		}
		if c.config.Endless {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	if c.config.Fail != "" {
		return errors.New(c.config.Fail)
	}
	return nil
}

func (c *capture) Sample(_ context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	for i := range req.Limit {
		s := sdk.Sample{Time: time.Unix(1, int64(i)).UTC(), Link: 1, Data: []byte(req.Target.String()), WireLen: 100 + i, Record: []byte{1}}
		if err := give(s); err != nil {
			return err
		}
	}
	return nil
}

var countingCapture = sdk.Plugin{
	Name: "counter", Version: "1.2.3", Summary: "makes up packets",
	Capture: sdk.NewCapture(captureConfig{Packets: 1000, Workers: 1}, func(c captureConfig, _ sdk.Env) (*capture, error) {
		if c.Workers > 8 {
			return nil, diag.Errorf(diag.Path{}.Attr("workers"), "Too many workers", "%d are wanted, at most 8 are possible.", c.Workers)
		}
		return &capture{c}, nil
	}),
}

// A filter that drops a port.

type filterConfig struct {
	Drop uint16 `hcl:"drop" doc:"destination port of what is dropped"`
}

type filter struct{ port uint16 }

func (f filter) NewWorker() (sdk.Judge, error) { return f, nil }

func (f filter) Judge(batch []traffic.Record) error {
	for i := range batch {
		if batch[i].DstPort == f.port {
			batch[i].Verdict = traffic.VerdictDrop
		}
	}
	return nil
}

var portFilter = sdk.Plugin{
	Name: "ports", Version: "1.0.0", Summary: "drops a port",
	Filter: sdk.NewFilter(filterConfig{}, func(c filterConfig, _ sdk.Env) (filter, error) { return filter{c.Drop}, nil }),
}

// A notifier that fails as it is told.

type helloConfig struct {
	Greeting string `hcl:"greeting,optional" doc:"what to say"`
	Fail     string `hcl:"fail,optional" doc:"once, for ever, panic or hang"`
}

type hello struct {
	config helloConfig
	env    sdk.Env
}

func (h *hello) Validate(context.Context) error {
	if h.config.Greeting == "" {
		return diag.Diagnostics{diag.Errorf(diag.Path{}.Attr("greeting"), "Empty greeting", "Say something.")}
	}
	return nil
}

func (h *hello) Notify(ctx context.Context, e sdk.Event) error {
	switch h.config.Fail {
	case "once":
		return sdk.Retry(errors.New("busy"))
	case "for ever":
		return errors.New("no such person")
	case "panic":
		panic("out of words")
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	}
	h.env.Logger.Info(h.config.Greeting, "target", e.Target)
	return nil
}

func (h *hello) Table(_ context.Context, name string) (sdk.Rows, error) {
	return sdk.Rows{Columns: []string{"name"}, Rows: [][]string{{name}}}, nil
}

var helloAction = sdk.Plugin{
	Name: "hello", Version: "1.0.0", Summary: "greets attacks",
	Notifier: sdk.NewNotifier(helloConfig{Greeting: "attack"}, func(c helloConfig, env sdk.Env) (*hello, error) { return &hello{c, env}, nil }),
}

// An action of all three sorts, with target blocks.

type announce struct {
	Label   string     `hcl:"profile,label"`
	NextHop netip.Addr `hcl:"next_hop" doc:"where to"`
}

type bgpConfig struct {
	Announce []announce `hcl:"announce,block"`
}

type bgp struct{ states chan sdk.MitigationStatus }

func (b *bgp) Notify(context.Context, sdk.Event) error { return nil }

func (b *bgp) Sync(_ context.Context, desired []sdk.Mitigation) error {
	for _, m := range desired {
		b.states <- sdk.MitigationStatus{ID: m.ID, State: sdk.MitigationActive, Cause: m.Profile, Time: m.Requested}
	}
	return nil
}

func (b *bgp) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	for {
		select {
		case s := <-b.states:
			report(s)
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *bgp) Inspect(_ context.Context, e sdk.Evidence) ([]sdk.Finding, error) {
	return []sdk.Finding{{Label: e.Event.Protocol, Confidence: 0.5, Detail: fmt.Sprint(len(e.Frames))}}, nil
}

var mitigatingAction = sdk.Plugin{
	Name: "bgp", Version: "1.0.0", Summary: "announces", TargetBlock: "announce",
	Mitigator: sdk.NewMitigator(bgpConfig{}, func(bgpConfig, sdk.Env) (*bgp, error) {
		return &bgp{states: make(chan sdk.MitigationStatus, 100)}, nil
	}),
}

// An exporter that taps.

type recorder struct{ snapshots, events, records int }

func (r *recorder) Export(context.Context, sdk.Snapshot) error { r.snapshots++; return nil }
func (r *recorder) Events(context.Context, []sdk.Event) error  { r.events++; return nil }
func (r *recorder) Tap(_ context.Context, batch []traffic.Record) error {
	r.records += len(batch)
	return nil
}
func (r *recorder) Health(context.Context) error { return errors.New("the database is slow") }

var recordingExport = sdk.Plugin{
	Name: "recorder", Version: "1.0.0", Summary: "records",
	Exporter: sdk.NewExporter(struct{}{}, func(struct{}, sdk.Env) (*recorder, error) { return &recorder{}, nil }),
}

// An action that prints whenever it can.

func init() {
	if os.Getenv(envPlugin) == "chatter" {
		fmt.Println("printed in init")
	}
}

type chatter struct{ hang bool }

func (c *chatter) Notify(context.Context, sdk.Event) error {
	fmt.Println("printed in Notify")
	fmt.Fprintln(os.Stderr, "to stderr in Notify")
	log.Print("[WARN] logged in Notify")
	return nil
}

func (c *chatter) Close(context.Context) error {
	if c.hang {
		select {}
	}
	fmt.Println("printed in Close")
	return nil
}

type chatterConfig struct {
	Hang bool `hcl:"hang,optional"`
}

var chattyAction = sdk.Plugin{
	Name: "chatter", Version: "1.0.0", Summary: "prints",
	Notifier: sdk.NewNotifier(chatterConfig{}, func(c chatterConfig, env sdk.Env) (*chatter, error) {
		fmt.Println("printed in build")
		return &chatter{c.Hang}, nil
	}),
}

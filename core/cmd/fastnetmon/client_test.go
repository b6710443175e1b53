package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// clientCommands are the commands that ask a running daemon.
func clientCommands() []*cobra.Command {
	return []*cobra.Command{
		statusCommand(), totalsCommand(), hostsCommand(), pluginsCommand(), ledgerCommand(), attacksCommand(), eventsCommand(), reloadCommand(),
		exportersCommand(), neighborsCommand(), doctorCommand(), explainCommand(),
	}
}

var clientTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// fakeDaemon answers the control socket.
type fakeDaemon struct {
	api.Archive
	empty  bool // nothing to list
	silent bool // one of its plugins does not answer
	hosts  func(api.HostQuery) error
	reload api.ReloadResult

	mu    sync.Mutex
	give  func(sdk.Event)
	asked chan struct{} // told of each snapshot, if set
}

func (f *fakeDaemon) Status(context.Context) (api.Status, error) {
	return api.Status{
		Version: "v1.2.3", Revision: "0123456789abcdef", Mode: "monitor", Started: clientTime, Uptime: 93 * time.Minute,
		Captures: api.Count{Running: 1, NotRunning: 1, Finished: 2}, Actions: api.Count{Running: 3},
		Hosts: 12345, Deltas: 23456.7, Attacks: 1, LossRatio: 0.0125, Memory: 300 << 20, MemoryLimit: 2 << 30,
		Held:     []string{"/etc/networks_list: it has 0 prefixes and had 12, which are kept"},
		Troubles: []string{"the log has not been written since 2026-03-04T05:06:07Z, and 12 lines are lost so far: write /var/log/fastnetmon.log: no space left on device"},
		Rates:    []api.DirectionRate{{Direction: "incoming", PPS: 1.25e6, BPS: 8.5e9}, {Direction: "outgoing", PPS: 950, BPS: 12500}},
	}, nil
}

func clientRates(pps float64) []sdk.CounterRate {
	return []sdk.CounterRate{{Counter: "total", PPS: pps, BPS: 8000 * pps}, {Counter: "tcp", PPS: 0}, {Counter: "udp", PPS: pps / 2, BPS: 4000 * pps}}
}

func (f *fakeDaemon) Snapshot(context.Context, int) (sdk.Snapshot, error) {
	if f.asked != nil {
		f.asked <- struct{}{}
	}
	if f.empty {
		return sdk.Snapshot{}, nil
	}
	return sdk.Snapshot{
		Time: clientTime,
		Totals: []sdk.TotalRate{
			{Direction: "incoming", Family: 4, Counters: clientRates(20000), Flows: 12},
			{Direction: "other", Family: 6, Counters: clientRates(0)},
		},
		Attacks: []sdk.Event{clientEvent(2)},
		Ledger: []sdk.LedgerRow{
			{Input: "pcap.mirror", Received: 1234567, Used: 1234500, InFlight: 7, Dropped: map[string]uint64{"not_ip": 50, "truncated": 10}},
			{Input: "sflow.routers", Received: 10, Used: 10},
		},
	}, nil
}

func (f *fakeDaemon) Hosts(_ context.Context, q api.HostQuery) ([]sdk.HostRate, error) {
	if f.hosts != nil {
		if err := f.hosts(q); err != nil {
			return nil, err
		}
	}
	if f.empty {
		return nil, nil
	}
	return []sdk.HostRate{
		{Host: netip.MustParsePrefix("203.0.113.7/32"), Group: "default", Network: "customers", Direction: "incoming", Counters: clientRates(123456), Flows: 7},
		{Host: netip.MustParsePrefix("2001:db8::/64"), Group: "v6", Network: "customers", Direction: "incoming", Counters: clientRates(99)},
	}, nil
}

func (f *fakeDaemon) Plugins(context.Context) ([]api.PluginStatus, error) {
	if f.empty {
		return nil, nil
	}
	return []api.PluginStatus{
		{Kind: "capture", Name: "pcap", Instance: "mirror", Version: "v1.2.3", State: "running", Since: clientTime, PID: 4711, Launches: 1},
		{
			Kind: "action", Name: "script", Instance: "notify", Version: "v1.2.3", State: "backing-off", Since: clientTime,
			Message: "it has ended: exit status 1\x1b[2J", Launches: 12, Failures: 12, LastFailure: "it has ended: exit status 1\x1b[2J", LastFailureAt: clientTime, Retry: clientTime.Add(4 * time.Second), Delivered: 10, Failed: 2, Dropped: 3, Queued: 4,
		},
		{
			Kind: "export", Name: "json", Instance: "file", State: "launching", Launches: 4, Failures: 4,
			LastFailure: "it ended with exit code 3", LastFailureAt: clientTime.Add(-time.Minute),
		},
	}, nil
}

func (f *fakeDaemon) Suggest(_ context.Context, group string) (api.Suggested, error) {
	if group == "unknown" {
		return api.Suggested{}, fmt.Errorf("%w: unknown hostgroup", api.ErrBadQuery)
	}
	return api.Suggested{HCL: "hostgroup \"default\" {\n}\n", Report: []byte("{\"source\": \"the running daemon\"}\n")}, nil
}

func (f *fakeDaemon) Explain(_ context.Context, addr netip.Addr) (api.Explanation, error) {
	out := api.Explanation{Address: addr, Host: netip.PrefixFrom(addr, addr.BitLen()), Revision: "0123456789abcdef", Mode: "monitor", ModeReason: "the daemon's mode is monitor"}
	switch {
	case addr.Is6():
		out.Host, out.Network, out.NetworkPrefix = netip.MustParsePrefix("2001:db8::/64"), "customers", netip.MustParsePrefix("2001:db8::/32")
	case addr == netip.MustParseAddr("203.0.113.7"):
		out.Known, out.Network, out.NetworkPrefix = true, "customers", netip.MustParsePrefix("203.0.113.0/24")
		out.Group, out.GroupPrefix, out.Chain = "web", netip.MustParsePrefix("203.0.113.0/28"), []string{"web", "default"}
		out.Suspended = "input pcap.mirror has just started"
		rules := []string{"average", "7x1.5"}
		out.Limits = []api.LimitState{
			{Threshold: "flood", Scope: "host", Direction: "incoming", Counter: "total", Unit: "pps", Limit: 20000, Value: 51234, Share: 2.5617, Rules: rules, Mode: "monitor", Actions: []string{"action.script.notify"}, State: "crossed"},
			{Threshold: "flood", Scope: "host", Direction: "incoming", Counter: "total", Unit: "bps", Limit: 1e9, Value: 1.2e9, Share: 1.2, Rules: rules, Mode: "monitor", State: "above"},
			{Threshold: "wide", Scope: "prefix", Direction: "outgoing", Counter: "ntp_reflection", Unit: "pps", Limit: 500, Rules: rules, Mode: "monitor", State: "below"},
		}
		out.Exemptions = []api.ExemptionState{{Name: "speedtest", Conditions: "incoming, remote 198.51.100.7/32", LimitBPS: 2e9, Until: clientTime}, {Name: "all", Conditions: "all of its traffic"}}
		out.Attacks = []sdk.Event{clientEvent(2)}
	}
	return out, nil
}

func (f *fakeDaemon) Reload(context.Context, bool) (api.ReloadResult, error) { return f.reload, nil }

func (f *fakeDaemon) Subscribe(_ context.Context, give func(sdk.Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.give = give
}

func (f *fakeDaemon) publish(e sdk.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.give(e)
}

func clientEvent(seq uint32) sdk.Event {
	c := sdk.Crossing{
		Threshold: "flood", Scope: "host", Counter: "total", Unit: "pps", Value: 45000, Limit: 20000,
		Window: 5 * time.Second, Rule: "average", At: clientTime,
	}
	return sdk.Event{
		Type: sdk.AttackUpdated, ID: "00112233aabbccdd", Seq: seq, Time: clientTime.Add(time.Second), Started: clientTime,
		Target: netip.MustParsePrefix("203.0.113.7/32"), Direction: "incoming", HostGroup: "default", Network: "customers", Pipeline: "main",
		Mode: "monitor", WouldHave: true, Revision: "0123456789abcdef", Crossing: c, Crossed: []sdk.Crossing{c},
		AttackType: "udp_flood", Protocol: "udp", PeakPPS: 51234, InitialPPS: 30000,
		Incoming: clientRates(50000), Outgoing: clientRates(10), Flows: [2]float64{3, 0},
	}
}

// serveFake answers at a socket of its own until the test ends or stop is
// called.
func serveFake(t *testing.T, f *fakeDaemon) (socket string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fnmctl")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, api.SocketName)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, socket, api.SocketMode, f, hclog.NewNullLogger()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	t.Cleanup(stop)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(socket); err == nil {
			return socket, stop
		}
		if time.Since(began) > time.Minute {
			t.Fatal("the control socket does not come")
		}
	}
}

// ask runs a client command, and gives the exit code as main does.
func ask(ctx context.Context, stdout *sdktest.Output, args ...string) (stderr string, code int, err error) {
	root := &cobra.Command{Use: "fastnetmon", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(clientCommands()...)
	var shown bytes.Buffer
	root.SetOut(stdout)
	root.SetErr(&shown)
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	if err != nil {
		code = exitConfig
		var coded *exitError
		if errors.As(err, &coded) {
			code = coded.code
		}
	}
	return shown.String(), code, err
}

func TestClientOutput(t *testing.T) {
	f := &fakeDaemon{reload: api.ReloadResult{
		Changed: true, Revision: "fedcba9876543210", Differences: []string{"network.customers: 1 prefix more", "capture.pcap.mirror: restarted"},
	}}
	socket, _ := serveFake(t, f)
	for name, args := range map[string][]string{
		"status": {"status"}, "totals": {"totals"}, "hosts": {"hosts"}, "hosts-udp": {"hosts", "--counter", "udp", "--by", "bps", "--direction", "both"},
		"plugins": {"plugins"}, "ledger": {"ledger"}, "attacks": {"attacks"}, "events": {"events"}, "reload": {"reload"},
		"exporters": {"exporters"}, "exporters-wide": {"exporters", "--wide"}, "doctor": {"doctor"},
		"explain": {"explain", "203.0.113.7"}, "explain-v6": {"explain", "2001:db8::1"}, "explain-other": {"explain", "192.0.2.1"},
	} {
		for _, form := range []string{"txt", "json"} {
			t.Run(name+"."+form, func(t *testing.T) {
				args := append(slices.Clone(args), "--socket", socket)
				if form == "json" {
					args = append(args, "--json")
				}
				var out sdktest.Output
				warns := 0
				if name == "doctor" {
					warns = exitWarning
				}
				if stderr, code, err := ask(t.Context(), &out, args...); code != warns || stderr != "" {
					t.Fatalf("exit status %d, %v\n%s", code, err, stderr)
				}
				if form == "json" && !json.Valid([]byte(out.String())) {
					t.Errorf("no JSON: %s", out.String())
				}
				sdktest.Golden(t, filepath.Join("testdata", "client", name+"."+form), out.String(), *update)
			})
		}
	}
}

// A reader of --json gets a list where there is nothing, never null.
func TestClientEmptyLists(t *testing.T) {
	socket, _ := serveFake(t, &fakeDaemon{empty: true})
	for _, command := range []string{"totals", "hosts", "plugins", "ledger", "attacks", "exporters", "doctor"} {
		var out sdktest.Output
		if _, _, err := ask(t.Context(), &out, command, "--json", "--socket", socket); err != nil || out.String() != "[]\n" {
			t.Errorf("%s: %q, %v", command, out.String(), err)
		}
	}
}

func TestHostsFlags(t *testing.T) {
	var got api.HostQuery
	f := &fakeDaemon{hosts: func(q api.HostQuery) error {
		got = q
		if q.Group == "none" {
			return fmt.Errorf("%w: there is no hostgroup none", api.ErrBadQuery)
		}
		return nil
	}}
	socket, _ := serveFake(t, f)
	var out sdktest.Output
	_, _, err := ask(t.Context(), &out, "hosts", "--socket", socket, "--top", "5", "--by", "bps", "--counter", "udp",
		"--direction", "outgoing", "--group", "g", "--network", "n", "--prefix", "203.0.113.7")
	want := api.HostQuery{
		Top: 5, Unit: "bps", Counter: "udp", Direction: "outgoing", Group: "g", Network: "n", Prefix: netip.MustParsePrefix("203.0.113.7/32"),
	}
	if err != nil || got != want {
		t.Errorf("asked %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range [][]string{
		{"--by", "Mbps"},
		{"--top", "0"},
		{"--top", "-1"},
		{"--top", "x"},
		{"--prefix", "all"},
		{"--counter", "mine"},
		{"--direction", "up"},
		{"--by", "fps", "--counter", "udp"},
		{"--group", "none"},
		{"--no-such-flag"},
		{"argument"},
	} {
		if _, code, err := ask(t.Context(), &out, append([]string{"hosts", "--socket", socket}, bad...)...); code != exitConfig {
			t.Errorf("%v: exit status %d (%v), want %d", bad, code, err, exitConfig)
		}
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	spoilt := write(t, "spoilt.hcl", "daemon {\n  runtime_dir = \""+dir+"\"\n}\nnetwork \"x\" {\n  prefixes = nothing.at.all\n}\n")
	broken := write(t, "broken.hcl", "daemon {")
	for _, command := range clientCommands() {
		for _, test := range []struct {
			flags []string
			code  int
			says  string
		}{
			{[]string{"--socket", filepath.Join(dir, "none")}, exitFailure, filepath.Join(dir, "none") + `: no daemon answers: start one with "fastnetmon run"`},
			{[]string{"--config", spoilt}, exitFailure, filepath.Join(dir, api.SocketName) + ": no daemon answers"},
			{[]string{"--config", broken}, exitConfig, ""},
			{[]string{"--config", filepath.Join(dir, "none.hcl")}, exitConfig, ""},
			{[]string{"--config", spoilt, "--socket", "x"}, exitConfig, "config"},
		} {
			var out sdktest.Output
			args := append([]string{command.Name()}, test.flags...)
			if command.Name() == "explain" {
				args = append(args, "203.0.113.7")
			}
			_, code, err := ask(t.Context(), &out, args...)
			if code != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s %v: exit status %d, %v", command.Name(), test.flags, code, err)
			}
			if out.String() != "" {
				t.Errorf("%s %v prints %q", command.Name(), test.flags, out.String())
			}
		}
	}
}

func TestReloadRefused(t *testing.T) {
	f := &fakeDaemon{reload: api.ReloadResult{
		Refused: true, Revision: "0123456789abcdef", Diagnostics: "Error: no such network\n  on fastnetmon.hcl line 3\x1b[31m\n",
	}}
	socket, _ := serveFake(t, f)
	var out sdktest.Output
	stderr, code, err := ask(t.Context(), &out, "reload", "--socket", socket)
	if code != exitConfig || err == nil || !strings.Contains(err.Error(), "0123456789abcdef stays in force") {
		t.Errorf("exit status %d, %v", code, err)
	}
	if want := "Error: no such network\n  on fastnetmon.hcl line 3 [31m\n"; stderr != want {
		t.Errorf("got %q, want %q", stderr, want)
	}
	f.reload = api.ReloadResult{Revision: "0123456789abcdef"}
	if _, _, err := ask(t.Context(), &out, "reload", "--socket", socket); err != nil || !strings.Contains(out.String(), "nothing is different") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// What is told twice, as an attack in progress and as an event, is printed
// once; losses are shown; the end of the daemon is an error, ours is not.
func TestEventsFollow(t *testing.T) {
	for _, interrupted := range []bool{true, false} {
		f := &fakeDaemon{asked: make(chan struct{})}
		socket, stop := serveFake(t, f)
		ctx, interrupt := context.WithCancel(t.Context())
		var out sdktest.Output
		var code int
		var err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, code, err = ask(ctx, &out, "events", "--follow", "--json", "--socket", socket)
		}()
		select {
		case <-f.asked: // by now the subscription stands
		case <-time.After(time.Minute):
			t.Fatal("the client does not ask for attacks")
		}
		f.publish(clientEvent(2))
		f.publish(clientEvent(3))
		for began := time.Now(); strings.Count(out.String(), "\n") < 2; time.Sleep(time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("printed %q", out.String())
			}
		}
		if interrupted {
			interrupt()
		} else {
			stop()
		}
		<-ended
		interrupt()
		if interrupted && err != nil || !interrupted && (code != exitFailure || !strings.Contains(err.Error(), "no daemon answers any more")) {
			t.Errorf("interrupted %v: exit status %d, %v", interrupted, code, err)
		}
		if n := strings.Count(out.String(), "\n"); n != 2 || strings.Count(out.String(), `"seq":3,`) != 1 {
			t.Errorf("%d lines:\n%s", n, out.String())
		}
	}
}

func TestEventPrinterLoss(t *testing.T) {
	e := clientEvent(5)
	for asJSON, want := range map[bool]string{true: `{"event":"events.lost","count":7}` + "\n{", false: "7 events lost: they were not read in time\n2026"} {
		var out bytes.Buffer
		if err := eventPrinter(&out, asJSON)(&e, 7); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}

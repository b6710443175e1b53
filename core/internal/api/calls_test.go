package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var equal = []cmp.Option{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

// Every value crosses as it is.
func TestCalls(t *testing.T) {
	f := healthy()
	c := client(t, start(t, f))
	ctx := t.Context()
	wantStatus, _ := f.status(ctx)
	wantHosts, _ := f.hosts(HostQuery{})
	wantReload, _ := f.reload(ctx)
	wantTables, _ := f.Tables(ctx, "exporters")
	asked := netip.MustParseAddr("10.1.2.3")
	wantExplanation, _ := f.Explain(ctx, asked)
	wantChecks, _ := f.Doctor(ctx)
	wantChecks[1].Detail = "\uFFFD none" // what is no UTF-8 cannot travel
	for _, call := range []struct {
		name string
		ask  func() (any, error)
		want any
	}{
		{"Status", func() (any, error) { return c.Status(ctx) }, wantStatus},
		{"Totals", func() (any, error) { return c.Totals(ctx) }, f.snapshot.Totals},
		{"Hosts", func() (any, error) { return c.Hosts(ctx, HostQuery{}) }, wantHosts},
		{"Plugins", func() (any, error) { return c.Plugins(ctx) }, f.plugins},
		{"Ledger", func() (any, error) { return c.Ledger(ctx) }, f.snapshot.Ledger},
		{"Attacks", func() (any, error) { return c.Attacks(ctx) }, f.snapshot.Attacks},
		{"Table", func() (any, error) { return c.Tables(ctx, "exporters") }, wantTables},
		{"Doctor", func() (any, error) { return c.Doctor(ctx) }, wantChecks},
		{"Explain", func() (any, error) { return c.Explain(ctx, asked) }, wantExplanation},
		{"Suggest", func() (any, error) { return c.Suggest(ctx, "default") }, Suggested{HCL: "hostgroup default", Report: []byte("{}")}},
		{"Reload", func() (any, error) { return c.Reload(ctx, false) }, wantReload},
	} {
		t.Run(call.name, func(t *testing.T) {
			got, err := call.ask()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(call.want, got, equal...); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHostQuery(t *testing.T) {
	asked := make(chan HostQuery, 1)
	f := healthy()
	f.hosts = func(q HostQuery) ([]sdk.HostRate, error) {
		asked <- q
		if q.Group == "none" {
			return nil, fmt.Errorf("%w: no hostgroup none", ErrBadQuery)
		}
		return nil, nil
	}
	c := client(t, start(t, f))
	for _, test := range []struct{ give, want HostQuery }{
		{HostQuery{}, HostQuery{Top: 20, Counter: "total", Unit: "pps", Direction: "incoming"}},
		{
			HostQuery{Top: 3, Counter: "tcp_syn", Unit: "bps", Direction: "both", Group: "g", Network: "n", Prefix: netip.MustParsePrefix("192.0.2.9/24")},
			HostQuery{Top: 3, Counter: "tcp_syn", Unit: "bps", Direction: "both", Group: "g", Network: "n", Prefix: netip.MustParsePrefix("192.0.2.0/24")},
		},
	} {
		if _, err := c.Hosts(t.Context(), test.give); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got != test.want {
			t.Errorf("asked %+v, want %+v", got, test.want)
		}
	}
	if _, err := c.Hosts(t.Context(), HostQuery{Group: "none"}); !errors.Is(err, ErrBadQuery) || !strings.Contains(err.Error(), "no hostgroup none") {
		t.Errorf("got %v, want the backend's ErrBadQuery", err)
	}
	<-asked
	for _, bad := range []HostQuery{
		{Top: -1},
		{Top: MaxHosts + 1},
		{Counter: "mine"},
		{Unit: "Mbps"},
		{Direction: "internal"},
		{Unit: "fps", Counter: "udp"},
	} {
		if _, err := c.Hosts(t.Context(), bad); !errors.Is(err, ErrBadQuery) {
			t.Errorf("%+v: got %v, want ErrBadQuery", bad, err)
		}
		// A client that does not check gets the same answer.
		if _, err := c.rpc.Hosts(t.Context(), queryOut(bad)); !errors.Is(c.explain(err), ErrBadQuery) {
			t.Errorf("%+v: the server says %v, want ErrBadQuery", bad, err)
		}
	}
	request := queryOut(HostQuery{})
	request.Prefix = "192.0.2.0/33"
	if _, err := c.rpc.Hosts(t.Context(), request); !errors.Is(c.explain(err), ErrBadQuery) {
		t.Errorf("no prefix: got %v, want ErrBadQuery", err)
	}
	if len(asked) > 0 {
		t.Errorf("a bad query came to the backend: %+v", <-asked)
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.9": "192.0.2.9/32", "192.0.2.9/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::1/128",
		"fe80::1%eth0": "", "": "", "x": "", "192.0.2.0/33": "",
	} {
		got, err := ParsePrefix(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.9": "192.0.2.9", "::ffff:192.0.2.9": "192.0.2.9", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "", "": "", "192.0.2.0/24": ""} {
		got, err := ParseAddress(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
	c := client(t, start(t, healthy()))
	if _, err := c.Explain(t.Context(), netip.Addr{}); !errors.Is(err, ErrBadQuery) {
		t.Errorf("no address: got %v, want ErrBadQuery", err)
	}
}

// What plugins and files say need not be UTF-8, and comes through all the same.
func TestHostileText(t *testing.T) {
	f := healthy()
	f.plugins = []PluginStatus{{Kind: "capture", Message: "bad \xff\xfe byte"}}
	f.snapshot.Ledger = []sdk.LedgerRow{{Input: "x", Dropped: map[string]uint64{"a\xff": 1, "a\xfe": 2}}}
	c := client(t, start(t, f))
	plugins, err := c.Plugins(t.Context())
	if err != nil || plugins[0].Message != "bad \uFFFD byte" {
		t.Errorf("got %+v, %v", plugins, err)
	}
	ledger, err := c.Ledger(t.Context())
	if err != nil || ledger[0].Dropped["a\uFFFD"] != 3 {
		t.Errorf("got %+v, %v", ledger, err)
	}
}

func TestBackendFailures(t *testing.T) {
	f := healthy()
	c := client(t, start(t, f))
	f.reload = func(context.Context) (ReloadResult, error) { return ReloadResult{}, errors.New("disk \xff gone") }
	if _, err := c.Reload(t.Context(), false); err == nil || err.Error() != "disk \uFFFD gone" {
		t.Errorf("got %v, want the backend's words", err)
	}
	f.reload = func(context.Context) (ReloadResult, error) { panic("oh") }
	if _, err := c.Reload(t.Context(), false); err == nil || !strings.Contains(err.Error(), "its log tells more") {
		t.Errorf("got %v, want an internal failure", err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// A second reload is refused while one is under way, which goes on though its
// client goes.
func TestReloadOnce(t *testing.T) {
	f := healthy()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f.reload = func(ctx context.Context) (ReloadResult, error) {
		close(begun)
		<-end
		ended <- ctx.Err()
		return ReloadResult{}, nil
	}
	c := client(t, start(t, f))
	ctx, leave := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := c.Reload(ctx, false); !errors.Is(err, context.Canceled) {
			t.Errorf("the client that left got %v", err)
		}
	})
	<-begun
	if _, err := c.Reload(t.Context(), false); err == nil || !strings.Contains(err.Error(), "another reload") {
		t.Errorf("got %v, want a refusal", err)
	}
	leave()
	first.Wait()
	close(end)
	if err := <-ended; err != nil {
		t.Errorf("the reload was cut short: %v", err)
	}
}

// A backend that hangs takes places away for as long as it hangs, not for ever,
// and never a client for longer than its own deadline.
func TestHangingBackend(t *testing.T) {
	f := healthy()
	end, hangs := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	answer := f.status
	f.status = func(ctx context.Context) (Status, error) {
		if asked.Add(1) <= maxCalls {
			hangs <- struct{}{}
			<-end // deaf to ctx
		}
		return answer(ctx)
	}
	r := start(t, f)
	ctx, leave := context.WithCancel(t.Context())
	var stuck sync.WaitGroup
	for range maxCalls {
		c := client(t, r)
		stuck.Go(func() {
			if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want to be let go", err)
			}
		})
	}
	for range maxCalls {
		<-hangs
	}
	leave()
	stuck.Wait()
	c := client(t, r)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Plugins(short); err == nil {
		t.Error("there was room for one call more than there may be")
	}
	close(end)
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("once the backend is back: %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	path := socketPath(t)
	c := client(t, &running{path: path})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: got %v, want ErrNotRunning", err)
	}
	if _, err := c.Events(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: events got %v, want ErrNotRunning", err)
	}
	abandon(t, path)
	if _, err := client(t, &running{path: path}).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: got %v, want ErrNotRunning", err)
	}
	if os.Geteuid() == 0 {
		return // root may everything: the next is for the others
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, &running{path: path}).Status(t.Context()); !errors.Is(err, os.ErrPermission) {
		t.Errorf("forbidden socket: got %v, want ErrPermission", err)
	}
}

// A daemon that is stopped still has a socket, and the system accepts.
func TestSilentDaemon(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := connectWithin(path, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrSilent) {
		t.Errorf("status got %v, want ErrSilent", err)
	}
	if _, err := c.Events(t.Context()); !errors.Is(err, ErrSilent) {
		t.Errorf("events got %v, want ErrSilent", err)
	}
}

package main

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

// bed is the plugin, started and watched.
type bed struct {
	t     *testing.T
	a     *action
	c     config
	state string
	end   func()

	mu   sync.Mutex
	seen map[string]sdk.MitigationStatus
}

func newBed(t *testing.T, c config) *bed {
	t.Helper()
	b := &bed{t: t, c: c, state: t.TempDir(), seen: map[string]sdk.MitigationStatus{}}
	b.start()
	t.Cleanup(func() { b.end() })
	return b
}

func (b *bed) start() {
	b.t.Helper()
	a, err := newAction(b.c, sdk.Env{Logger: hclog.NewNullLogger(), StateDir: b.state})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := a.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.a = a
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Watch(ctx, func(s sdk.MitigationStatus) { // it has no error
			b.mu.Lock()
			defer b.mu.Unlock()
			b.seen[s.ID] = s
		})
	}()
	b.end = func() {
		cancel()
		<-ended
		_ = a.Close(context.Background()) // it has no error
	}
}

// restart ends the plugin, as a stop of FastNetMon does, and starts it again.
func (b *bed) restart() {
	b.t.Helper()
	b.end()
	b.mu.Lock()
	clear(b.seen)
	b.mu.Unlock()
	b.start()
}

func (b *bed) sync(desired ...sdk.Mitigation) {
	b.t.Helper()
	began := time.Now()
	if err := b.a.Sync(b.t.Context(), desired); err != nil {
		b.t.Fatal(err)
	}
	if d := time.Since(began); d > 5*time.Second {
		b.t.Errorf("Sync took %v", d)
	}
}

// until waits for a status, with words in its cause.
func (b *bed) until(id string, state sdk.MitigationState, cause string) sdk.MitigationStatus {
	b.t.Helper()
	var s sdk.MitigationStatus
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b.mu.Lock()
		s = b.seen[id]
		b.mu.Unlock()
		if s.State == state && strings.Contains(s.Cause, cause) {
			return s
		}
	}
	b.t.Fatalf("mitigation %s is %+v, want %s (%s)", id, s, state, cause)
	return s
}

func mitigation(id, target, profile string) sdk.Mitigation {
	e := message.Samples()[0]
	e.Target = netip.MustParsePrefix(target)
	m := sdk.Mitigation{ID: id, AttackID: e.ID, Target: e.Target, Direction: "incoming", Profile: profile, Event: e, Requested: e.Time}
	if m.Subnet = netip.MustParsePrefix("203.0.113.0/24"); e.Target.Addr().Is6() {
		m.Subnet = netip.MustParsePrefix("2001:db8::/32")
	}
	return m
}

func labelled(m sdk.Mitigation, label string) sdk.Mitigation {
	m.Event.Label = label
	return m
}

// profiles are announce blocks for tests.
func profiles() []announce.Block {
	limit, dscp, pref, med := sdk.Size(125000), 10, uint32(200), uint32(5)
	routed := announce.Block{
		Name: "blackhole", Prefix: announce.PrefixHost, NextHop: netip.MustParseAddr("192.0.2.66"), NextHopV6: netip.MustParseAddr("2001:db8:ffff::1"), NoExport: true,
	}
	original, subnet, rich := routed, routed, routed
	original.Name, original.Communities, original.NoExport = "original", []string{"65001:666"}, false
	subnet.Name, subnet.Prefix, subnet.Divert, subnet.Communities = "subnet", announce.PrefixSubnet, true, []string{"65001:777", "65001:778"}
	rich.Name, rich.LargeCommunities, rich.ExtendedCommunities = "rich", []string{"65001:1:2"}, []string{"rt:65001:100", "soo:65001:7", "soo:192.0.2.1:5", "rt:4200000000:6"}
	rich.LocalPref, rich.MED, rich.ASPathPrepend = &pref, &med, 2
	return []announce.Block{
		routed, original, subnet, rich,
		{Name: "discard", Prefix: announce.PrefixHost, Then: announce.Discard},
		{Name: "limit", Prefix: announce.PrefixHost, Then: announce.RateLimit, BytesPerSecond: &limit},
		{Name: "mark", Prefix: announce.PrefixHost, Then: announce.Mark, DSCP: &dscp},
		{Name: "divert", Prefix: announce.PrefixHost, Then: announce.Redirect, Redirect: "65001:100"},
		{Name: "scrubber", Prefix: announce.PrefixHost, Then: announce.Redirect, Redirect: "192.0.2.99"},
	}
}

func settingsOf(change func(*config)) config {
	c := config{Refresh: time.Minute, Timeout: 5 * time.Second, LocalAS: 65001, Announce: profiles()}
	change(&c)
	return c
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "exa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func fifo(t *testing.T, path string) string {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listener reads a named pipe, line by line, until it is closed.
type listener struct {
	t     *testing.T
	file  *os.File
	lines chan string
}

func newReader(t *testing.T, path string) *listener {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &listener{t, f, make(chan string, 100000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			lines := bufio.NewScanner(f)
			for lines.Scan() {
				r.lines <- lines.Text()
			}
			if lines.Err() != nil {
				return // it was closed
			}
			time.Sleep(time.Millisecond) // there is no writer
		}
	}()
	t.Cleanup(func() { f.Close(); <-ended })
	return r
}

func (r *listener) want(lines ...string) {
	r.t.Helper()
	for _, want := range lines {
		select {
		case got := <-r.lines:
			if got != want {
				r.t.Errorf("read %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			r.t.Fatalf("nothing came, want %q", want)
		}
	}
}

func path(t *testing.T, name string) string { return filepath.Join(shortDir(t), name) }

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// Profiles that most tests use.
const profiles = `
	announce "blackhole" {
		next_hop    = "192.0.2.66"
		next_hop_v6 = "2001:db8::66"
		communities = ["65001:666", "blackhole"]
	}
	announce "subnet" {
		prefix      = "subnet"
		next_hop    = "192.0.2.66"
		next_hop_v6 = "2001:db8::66"
		communities = []
		divert      = true
	}
	announce "flowspec" {
		then = "discard"
	}
`

// speakTo is a configuration with neighbours.
func speakTo(options string, peers ...*peer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "local_as = %d\nrouter_id = %q\n%s\n", ourAS, newAddress(), profiles)
	for _, p := range peers {
		fmt.Fprintf(&b, "neighbor %q {\n peer_as = %d\n local_address = %q\n connect_retry = \"500ms\"\n %s\n}\n", p.address, theirAS, p.near, options)
	}
	return b.String()
}

// mitigate makes a mitigation of a host.
func mitigate(id, target, profile string) sdk.Mitigation {
	m := sdktest.Mitigation()
	m.ID, m.Profile = id, profile
	m.Target = netip.MustParsePrefix(target)
	m.Event.Target = m.Target
	m.Event.Label = "ntp_reflection"
	if m.Target.Addr().Is4() {
		m.Subnet = netip.PrefixFrom(m.Target.Addr(), 24).Masked()
	} else {
		m.Subnet = netip.PrefixFrom(m.Target.Addr(), 48).Masked()
	}
	return m
}

// watcher keeps the newest status of each mitigation.
type watcher struct {
	t    *testing.T
	mu   sync.Mutex
	last map[string]sdk.MitigationStatus
	all  []sdk.MitigationStatus
}

func watch(t *testing.T, h *sdktest.Harness) *watcher {
	t.Helper()
	w := &watcher{t: t, last: map[string]sdk.MitigationStatus{}}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = h.WatchMitigations(ctx, func(st sdk.MitigationStatus) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last[st.ID] = st
			w.all = append(w.all, st)
		})
	}()
	t.Cleanup(func() { cancel(); <-over })
	return w
}

func (w *watcher) get(id string) sdk.MitigationStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[id]
}

// want waits for a state, and a word of its cause.
func (w *watcher) want(id string, state sdk.MitigationState, cause string) sdk.MitigationStatus {
	w.t.Helper()
	if !eventually(patience, func() bool {
		st := w.get(id)
		return st.State == state && strings.Contains(st.Cause, cause)
	}) {
		w.t.Fatalf("mitigation %s is %+v, want %s %q", id, w.get(id), state, cause)
	}
	return w.get(id)
}

// never fails where a state was reported.
func (w *watcher) never(state sdk.MitigationState) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range w.all {
		if st.State == state {
			w.t.Fatalf("mitigation %s was reported as %+v", st.ID, st)
		}
	}
}

// inNamespace runs a test in a network namespace of its own, whose loopback
// interface has all of 10.77.0.0/16 and some addresses of fd77::/64.
func inNamespace(t *testing.T, programs ...string) bool {
	t.Helper()
	if !sdktest.InNamespace(t, programs...) {
		return false
	}
	lines := []string{"address add 10.77.0.1/16 dev lo"}
	for i := range 16 {
		lines = append(lines, fmt.Sprintf("address add fd77::%x/128 dev lo nodad", i+1))
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip address: %v: %s", err, out)
	}
	return true
}

func sync1(t *testing.T, h *sdktest.Harness, ms ...sdk.Mitigation) {
	t.Helper()
	if err := h.Sync(ms); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// drive is a configuration that drives a gobgpd.
func drive(p *peer) string { return fmt.Sprintf("api = %q\n%s", p.api, profiles) }

// gobgp runs a command of gobgpd's client.
func (p *peer) gobgp(args ...string) {
	p.t.Helper()
	if out, err := exec.Command(p.client[0], append(slices.Clone(p.client[1:]), args...)...).CombinedOutput(); err != nil {
		p.t.Fatalf("gobgp %v: %v: %s", args, err, out)
	}
}

// answers waits until gobgpd does.
func (p *peer) answers() {
	p.t.Helper()
	if !eventually(patience, func() bool { return p.ask(append(slices.Clone(p.client), "global")...) != "" }) {
		p.t.Fatal("gobgpd does not answer")
	}
}

// A gobgpd that is driven, and its neighbour: what is announced, taken back,
// restarted, killed, foreign.
func TestDrive(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd") {
		return
	}
	o := peerOptions{connect: true}
	o.complete()
	far := bird(t, o)
	daemon := gobgpd(t, peerOptions{address: o.near, near: o.address, as: ourAS, passiveTo: theirAS})
	daemon.answers()
	foreign := func() {
		daemon.gobgp("global", "rib", "add", "198.51.100.7/32", "nexthop", "192.0.2.1")
		daemon.gobgp("global", "rib", "add", "203.0.113.9/32", "nexthop", "192.0.2.1")
	}
	foreign()

	dir := t.TempDir()
	h := sdktest.New(t, plugin(), drive(daemon))
	h.StateDir = dir
	w := watch(t, h)
	all := []sdk.Mitigation{
		mitigate("1", "203.0.113.5/32", "blackhole"), mitigate("2", "2001:db8:1::5/128", "blackhole"),
		mitigate("3", "203.0.113.5/32", "flowspec"), mitigate("4", "2001:db8:1::5/128", "flowspec"),
	}
	x := peersWrite["bird"]
	const kept1, kept2 = "198.51.100.7/32 192.0.2.1", "203.0.113.9/32 192.0.2.1"
	whole := func() {
		t.Helper()
		far.wantRoutes("ipv4", kept1, kept2, x.v4)
		far.wantRoutes("ipv6", x.v6)
		far.wantRoutes("ipv4-flowspec", x.rule4)
		far.wantRoutes("ipv6-flowspec", x.rule6)
	}
	sync1(t, h, append(all, mitigate("5", "203.0.113.9/32", "blackhole"))...)
	whole()
	for _, m := range all {
		st := w.want(m.ID, sdk.MitigationActive, "")
		if len(st.Peers) != 1 || st.Peers[0].Peer != far.address {
			t.Errorf("%+v", st)
		}
	}
	w.want("5", sdk.MitigationPending, "left alone")
	rows, err := h.Table("neighbors")
	if err != nil || len(rows.Rows) != 1 || rows.Rows[0][0] != far.address || rows.Rows[0][2] != "established" {
		t.Errorf("%v, %v", rows, err)
	}

	// gobgpd starts again, and knows nothing.
	daemon.kill()
	w.want("1", sdk.MitigationPending, "gobgpd at "+daemon.api)
	daemon.start()
	w.want("1", sdk.MitigationActive, "")
	if !eventually(patience, func() bool { return len(far.routes("ipv4")) == 2 }) { // 203.0.113.9 was not there first this time
		t.Errorf("%q", far.routes("ipv4"))
	}
	sync1(t, h, all...)
	far.wantRoutes("ipv4", x.v4)
	foreign()
	whole()

	// We end without a Sync, and one mitigation is gone when we are back.
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	whole()
	h = sdktest.New(t, plugin(), drive(daemon))
	h.StateDir = dir
	w = watch(t, h)
	sync1(t, h, all[:3]...)
	w.want("3", sdk.MitigationActive, "")
	far.wantRoutes("ipv6-flowspec")
	far.wantRoutes("ipv4", kept1, kept2, x.v4)

	// Its neighbour goes and comes.
	far.kill()
	w.wantPeer("1", far.address, sdk.MitigationPending, "no session")
	far.start()
	w.wantPeer("1", far.address, sdk.MitigationActive, "")

	sync1(t, h)
	for _, m := range all[:3] {
		w.want(m.ID, sdk.MitigationReleased, "")
	}
	far.wantRoutes("ipv4", kept1, kept2)
	far.wantRoutes("ipv6")
	far.wantRoutes("ipv4-flowspec")
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// neighborBlock is a neighbour block for a peer.
func neighborBlock(p *peer, options string) string {
	return fmt.Sprintf("neighbor %q {\n peer_as = %d\n local_address = %q\n connect_retry = \"500ms\"\n %s\n}\n", p.address, theirAS, p.near, options)
}

func self() string {
	return fmt.Sprintf("local_as = %d\nrouter_id = %q\n%s\n", ourAS, newAddress(), profiles)
}

// wantPeer waits until a mitigation has a state with one neighbour.
func (w *watcher) wantPeer(id, address string, state sdk.MitigationState, cause string) {
	w.t.Helper()
	got := func() sdk.PeerStatus {
		for _, p := range w.get(id).Peers {
			if p.Peer == address {
				return p
			}
		}
		return sdk.PeerStatus{}
	}
	if !eventually(patience, func() bool { return got().State == state && strings.Contains(got().Cause, cause) }) {
		w.t.Fatalf("mitigation %s with %s is %+v, want %s %q", id, address, got(), state, cause)
	}
}

// A neighbour that is not there, refuses, has another password, does not
// take a family, comes late or goes: each says so, and none disturbs the others.
func TestTrouble(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd") {
		return
	}
	late := peerOptions{address: newAddress(), near: newAddress()}
	wrong, locked, plain := gobgpd(t, peerOptions{as: 65099}), bird(t, peerOptions{password: "right"}), bird(t, peerOptions{noFlowSpec: true})
	h := sdktest.New(t, plugin(), self()+neighborBlock(wrong, "")+neighborBlock(locked, `password = "wrong"`)+
		neighborBlock(plain, "")+neighborBlock(&peer{address: late.address, near: late.near}, ""))
	w := watch(t, h)
	route, rule := mitigate("route", "203.0.113.5/32", "blackhole"), mitigate("rule", "203.0.113.5/32", "flowspec")
	sync1(t, h, route, rule)

	w.wantPeer("route", plain.address, sdk.MitigationActive, "")
	w.wantPeer("rule", plain.address, sdk.MitigationPending, "does not take ipv4-flowspec")
	w.wantPeer("route", late.address, sdk.MitigationPending, "connection refused")
	w.wantPeer("route", wrong.address, sdk.MitigationPending, "bad peer as")
	w.wantPeer("route", locked.address, sdk.MitigationPending, "password")
	w.want("route", sdk.MitigationActive, late.address+": no session: connection refused")
	w.want("rule", sdk.MitigationPending, "does not take")
	if !eventually(patience, func() bool {
		return strings.Contains(h.Health().Message, "neighbour "+late.address+": no session: connection refused")
	}) {
		t.Errorf("health: %q", h.Health().Message)
	}
	rows, err := h.Table("neighbors")
	if err != nil {
		t.Fatal(err)
	}
	table := fmt.Sprint(rows.Rows)
	for _, want := range []string{late.address + " 65002 ", "connection refused", plain.address + " 65002 established", " 1 ipv4-unicast ipv6-unicast no 0]", "bad peer as"} {
		if !strings.Contains(table, want) {
			t.Errorf("table %s\nlacks %s", table, want)
		}
	}

	figures := map[string]float64{}
	for _, m := range h.Health().Metrics {
		figures[m.Name] = m.Value
	}
	for name, want := range map[string]float64{
		"routes": 2, "session_up:neighbor=" + plain.address: 1, "neighbor_routes:neighbor=" + plain.address: 1,
		"refused_updates_total:neighbor=" + plain.address: 0, "session_up:neighbor=" + late.address: 0,
	} {
		if got, ok := figures[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}

	came := bird(t, late)
	w.wantPeer("route", late.address, sdk.MitigationActive, "")
	w.want("rule", sdk.MitigationActive, "")
	came.wantRoutes("ipv4", "203.0.113.5/32")

	for range 2 { // it flaps
		came.kill()
		w.wantPeer("route", late.address, sdk.MitigationPending, "no session")
		came.start()
		w.wantPeer("route", late.address, sdk.MitigationActive, "")
		came.wantRoutes("ipv4", "203.0.113.5/32")
		came.wantRoutes("ipv4-flowspec", "203.0.113.5/32")
	}
	plain.wantRoutes("ipv4", "203.0.113.5/32")
}

// birdc runs a command of BIRD's client.
func (p *peer) birdc(words ...string) {
	p.t.Helper()
	if out := p.ask(append([]string{"birdc", "-s", p.dir + "/ctl"}, words...)...); out == "" {
		p.t.Fatalf("birdc %q failed", words)
	}
}

// A neighbour that refuses says why, and has everything once its fault is
// mended: another AS number in its configuration, an operator who shut the
// session down, more routes than it takes.
func TestRefusalsHeal(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd") {
		return
	}
	wrong, shut, full := gobgpd(t, peerOptions{as: 65099}), bird(t, peerOptions{}), bird(t, peerOptions{limit: 2})
	h := sdktest.New(t, plugin(), self()+neighborBlock(wrong, "")+neighborBlock(shut, "")+neighborBlock(full, ""))
	w := watch(t, h)
	var all []sdk.Mitigation
	for i := range 3 {
		all = append(all, mitigate(fmt.Sprint(i), fmt.Sprintf("203.0.113.%d/32", i), "blackhole"))
	}
	sync1(t, h, all[:2]...)
	w.wantPeer("0", wrong.address, sdk.MitigationPending, "bad peer as")
	w.wantPeer("1", full.address, sdk.MitigationActive, "")
	w.wantPeer("1", shut.address, sdk.MitigationActive, "")

	for range 2 {
		shut.birdc("disable", "fnm", `"maintenance"`)
		w.wantPeer("1", shut.address, sdk.MitigationPending, "administrative shutdown")
		shut.birdc("enable", "fnm")
		w.wantPeer("1", shut.address, sdk.MitigationActive, "")
		shut.wantRoutes("ipv4", "203.0.113.0/32", "203.0.113.1/32")
	}

	sync1(t, h, all...)
	w.wantPeer("2", full.address, sdk.MitigationPending, "maximum number of prefixes")
	w.wantPeer("2", shut.address, sdk.MitigationActive, "")
	w.want("2", sdk.MitigationActive, full.address+": no session")
	sync1(t, h, all[1:]...)
	full.birdc("enable", "fnm")
	w.wantPeer("2", full.address, sdk.MitigationActive, "")
	full.wantRoutes("ipv4", "203.0.113.1/32", "203.0.113.2/32")

	path := filepath.Join(wrong.dir, "gobgpd.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong.kill()
	writeFile(t, path, strings.Replace(string(text), "as = 65099", fmt.Sprintf("as = %d", theirAS), 1))
	wrong.start()
	w.wantPeer("2", wrong.address, sdk.MitigationActive, "")
	wrong.wantRoutes("ipv4", "203.0.113.1/32", "203.0.113.2/32")
	if !eventually(patience, func() bool { return h.Health().Message == "" }) {
		t.Errorf("health: %q", h.Health().Message)
	}
	w.want("2", sdk.MitigationActive, "")
}

// Passwords are on the wire, IPv6 carries sessions too, and a neighbour with
// TTL security takes ours.
func TestPasswordAndIPv6(t *testing.T) {
	if !inNamespace(t, "bird", "vtysh") {
		return
	}
	locked := bird(t, peerOptions{password: "secret"})
	six := frr(t, peerOptions{address: "fd77::1", near: "fd77::2", password: "hidden", near1: true})
	h := sdktest.New(t, plugin(), self()+neighborBlock(locked, `password = "secret"`)+neighborBlock(six, "password = \"hidden\"\n ttl_security = 1"))
	sync1(t, h, mitigate("4", "203.0.113.5/32", "blackhole"), mitigate("6", "2001:db8:1::5/128", "blackhole"))
	for _, p := range []*peer{locked, six} {
		p.wantRoutes("ipv4", peersWrite[p.name].v4)
		p.wantRoutes("ipv6", peersWrite[p.name].v6)
	}
}

// A neighbour connects to us where that is configured, and nobody else may.
func TestPassive(t *testing.T) {
	if !inNamespace(t, "bird", "exabgp") {
		return
	}
	first, second := peerOptions{connect: true}, peerOptions{connect: true, password: "secret"}
	first.complete()
	second.complete()
	second.near = first.near
	exa, locked := exabgp(t, first), bird(t, second)
	h := sdktest.New(t, plugin(), self()+fmt.Sprintf("listen = [%q]\n", first.near+":179")+
		neighborBlock(exa, "passive = true")+neighborBlock(locked, "passive = true\n password = \"secret\""))
	w := watch(t, h)
	all := []sdk.Mitigation{
		mitigate("1", "203.0.113.5/32", "blackhole"), mitigate("2", "2001:db8:1::5/128", "blackhole"),
		mitigate("3", "203.0.113.5/32", "flowspec"), mitigate("4", "2001:db8:1::5/128", "flowspec"),
	}
	sync1(t, h, all...)
	for _, p := range []*peer{exa, locked} {
		x := peersWrite[p.name]
		p.wantRoutes("ipv4", x.v4)
		p.wantRoutes("ipv6", x.v6)
		p.wantRoutes("ipv4-flowspec", x.rule4)
		p.wantRoutes("ipv6-flowspec", x.rule6)
	}
	for _, m := range all {
		w.want(m.ID, sdk.MitigationActive, "")
	}
	locked.kill()
	w.wantPeer("1", locked.address, sdk.MitigationPending, "no session")
	locked.start()
	w.wantPeer("1", locked.address, sdk.MitigationActive, "")
	locked.wantRoutes("ipv4", peersWrite["bird"].v4)
	sync1(t, h)
	for _, m := range all {
		w.want(m.ID, sdk.MitigationReleased, "")
	}
	for _, family := range []string{"ipv4", "ipv6", "ipv4-flowspec", "ipv6-flowspec"} {
		exa.wantRoutes(family)
		locked.wantRoutes(family)
	}
}

// A neighbour that sends 100,000 routes costs nothing, and is told ours all the
// same.
func TestImportsNothing(t *testing.T) {
	if !inNamespace(t, "bird") {
		return
	}
	const many = 100_000
	p := bird(t, peerOptions{flood: many})
	h := sdktest.New(t, plugin(), self()+neighborBlock(p, ""))
	w := watch(t, h)
	before := memory()
	sync1(t, h, mitigate("1", "203.0.113.5/32", "blackhole"))
	w.want("1", sdk.MitigationActive, "")
	if !eventually(patience, func() bool {
		rows, err := h.Table("neighbors")
		return err == nil && len(rows.Rows) == 1 && rows.Rows[0][len(rows.Rows[0])-1] != "0" && exported(p) >= many
	}) {
		t.Fatalf("the neighbour has told of %d routes", exported(p))
	}
	p.wantRoutes("ipv4", "203.0.113.5/32")
	grown := int64(memory()) - int64(before)
	t.Logf("heap grew by %d KiB while the neighbour told of %d routes", grown>>10, many)
	if grown > 8<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

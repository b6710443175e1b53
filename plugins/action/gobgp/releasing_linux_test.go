package main

import (
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// A plugin that is killed while a withdrawal waits knows of it when it is
// started again: what a neighbour may still have is not released before the
// neighbour has been told.
func TestReleasingKilled(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd") {
		return
	}
	t.Run("speaker", func(t *testing.T) {
		p := bird(t, peerOptions{restart: true})
		releasingKilled(t, p, self()+neighborBlock(p, ""), func() {
			p.wantRoutes("ipv4")
			p.wantRoutes("ipv6")
		}, "may keep it until")
	})
	t.Run("api", func(t *testing.T) {
		o := peerOptions{connect: true}
		o.complete()
		far := bird(t, o)
		p := gobgpd(t, peerOptions{address: o.near, near: o.address, as: ourAS, passiveTo: theirAS})
		p.answers()
		releasingKilled(t, p, drive(p), func() { far.wantRoutes("ipv4") }, "gobgpd at "+p.api)
	})
}

func releasingKilled(t *testing.T, p *peer, config string, empty func(), why string) {
	t.Helper()
	first := child(t, config, 10)
	dir := first.dir
	if !eventually(patience, func() bool { return exists(filepath.Join(dir, "active")) }) {
		t.Fatal("the hundred mitigations are not active")
	}
	p.kill()
	writeFile(t, filepath.Join(dir, "withdraw"), "")
	if !eventually(patience, func() bool { return exists(filepath.Join(dir, "withdrawn")) }) {
		t.Fatal("the plugin does not take an empty set")
	}
	slay(first.Cmd)

	for range 2 { // the one in between ends without a word too
		h := sdktest.New(t, plugin(), config)
		h.StateDir = dir
		w := watch(t, h)
		sync1(t, h)
		for _, id := range []string{"10", "109"} {
			w.want(id, sdk.MitigationActive, why)
		}
		w.never(sdk.MitigationReleased)
		if err := h.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	h := sdktest.New(t, plugin(), config)
	h.StateDir = dir
	w := watch(t, h)
	stays := mitigate("10", "203.0.113.10/32", "blackhole")
	sync1(t, h, stays) // one of them is wanted again
	w.want("109", sdk.MitigationActive, why)
	w.want("10", sdk.MitigationPending, "")
	p.start()
	w.want("109", sdk.MitigationReleased, "")
	sync1(t, h)
	w.want("10", sdk.MitigationReleased, "")
	empty()

	// Nothing is left to be taken back.
	if err := h.Drain(); err != nil {
		t.Fatal(err)
	}
	h = sdktest.New(t, plugin(), config)
	h.StateDir = dir
	w = watch(t, h)
	m := mitigate("new", "203.0.113.5/32", "blackhole")
	sync1(t, h, m)
	w.want("new", sdk.MitigationActive, "")
	if st := w.get("109"); st.ID != "" {
		t.Errorf("it knows of %+v", st)
	}
}

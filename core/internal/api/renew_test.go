package api

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A socket that is removed, even with its directory, comes back; who is
// connected stays so, and another's socket is left alone.
func TestRemovedSocket(t *testing.T) {
	backend := healthy()
	r := start(t, backend)
	connected := client(t, r)
	ctx := t.Context()
	stream, err := connected.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	answers := func() bool {
		c, err := Connect(r.path)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Status(ctx)
		return err == nil
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	await("the socket does not come back", answers)
	if err := os.RemoveAll(filepath.Dir(r.path)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * renewEvery)
	if err := os.Mkdir(filepath.Dir(r.path), 0o700); err != nil {
		t.Fatal(err)
	}
	await("the socket does not come back with its directory", answers)
	if info, err := os.Lstat(r.path); err != nil || info.Mode() != os.ModeSocket|SocketMode {
		t.Errorf("the new socket: %v, %v", info, err)
	}
	if _, err := connected.Status(ctx); err != nil {
		t.Errorf("who was connected is not any more: %v", err)
	}
	backend.publish(event(7))
	if e, _, err := stream.Next(); err != nil || e.Seq != 7 {
		t.Errorf("event %+v, %v", e, err)
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * renewEvery)
	if text, err := os.ReadFile(r.path); err != nil || string(text) != "another's" {
		t.Errorf("what another put there is %q, %v", text, err)
	}
}

package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestAFullDisk(t *testing.T) {
	dir := sdktest.SmallDisk(t, "512k")
	path, ballast := filepath.Join(dir, "x.db"), filepath.Join(dir, "ballast")
	fill := func() { sdktest.FillDisk(t, ballast) }
	fill()
	for range 3 {
		if _, err := Open(path, Options{Kind: "test"}, makeThings); !errors.Is(err, ErrFull) {
			t.Fatalf("no room to make it: %v", err)
		}
	}
	if _, err := os.Stat(path); err == nil || len(asides(t, path)) != 0 {
		t.Errorf("a part of a file was left, or set aside: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	db := open(t, path, Options{}, makeThings)
	put(t, db, 100)
	fill()
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(thing).Put([]byte("large"), make([]byte, 1<<20))
	}); !errors.Is(err, ErrFull) {
		t.Errorf("no room to write: %v", err)
	}
	if get(t, db, "key000099") != "value" {
		t.Error("what was there is gone")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, db, 200)
	if err := db.Reopen(); err != nil || get(t, db, "key000199") != "value" || db.SetAside() != "" {
		t.Errorf("once there is room: %v, set aside %q", err, db.SetAside())
	}
}

// A process without rights is told which it lacks.
func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	dir := sdktest.SmallDisk(t, "1m")
	path := filepath.Join(dir, "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 1)
	db.end(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Kind: "test"}, makeThings); !errors.Is(err, ErrDenied) {
		t.Errorf("an old file: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "y.db"), Options{Kind: "test"}, makeThings); !errors.Is(err, ErrDenied) {
		t.Errorf("a new file: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "state", "y.db"), Options{Kind: "test"}, makeThings); !errors.Is(err, ErrDenied) {
		t.Errorf("a new directory: %v", err)
	}
	if got := get(t, open(t, path, Options{ReadOnly: true}, makeThings), "key000000"); got != "value" {
		t.Errorf("it can be read, but has %q", got)
	}
}

// On a full disk attacks wait, it is told, and once there is room they are
// written.
func TestAHistoryOnAFullDisk(t *testing.T) {
	dir := sdktest.SmallDisk(t, "256k")
	h := history(t, filepath.Join(dir, HistoryFile), forever)
	t.Cleanup(h.Close)
	m := &made{r: rand.New(rand.NewPCG(1, 1)), gap: time.Minute, long: true}
	for range 1000 {
		e := m.next()
		h.Offer(&e)
	}
	for began := time.Now(); len(h.Troubles()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nothing is told of a full disk")
		}
	}
	if got := h.Troubles(); !strings.Contains(got[0], ErrFull.Error()) {
		t.Errorf("troubles: %q", got)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	r := settled(t, h)
	if n := len(list(t, r, Query{Limit: MaxPage})); n != MaxPage || len(h.Troubles()) > 0 {
		t.Errorf("once there is room: %d attacks, %q", n, h.Troubles())
	}
}

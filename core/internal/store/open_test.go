package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

var thing = []byte("things")

func makeThings(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(thing)
	return err
}

// double is what a second schema might do: a new form of every value.
func double(tx *bbolt.Tx) error {
	b := tx.Bucket(thing)
	return b.ForEach(func(k, v []byte) error { return b.Put(k, append(bytes.Clone(v), v...)) })
}

func open(t *testing.T, path string, opt Options, steps ...Migration) *DB {
	t.Helper()
	opt.Kind = "test"
	db, err := Open(path, opt, steps...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func put(t *testing.T, db *DB, n int) {
	t.Helper()
	if err := db.Update(func(tx *bbolt.Tx) error {
		for i := range n {
			if err := tx.Bucket(thing).Put(fmt.Appendf(nil, "key%06d", i), []byte("value")); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, db *DB, key string) (out string) {
	t.Helper()
	if err := db.View(func(tx *bbolt.Tx) error {
		out = string(tx.Bucket(thing).Get([]byte(key)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// close ends the use of a file for sure.
func (db *DB) end(t *testing.T) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnOldFileIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "x.db")
	old := open(t, path, Options{}, makeThings)
	put(t, old, 1000)
	old.end(t)

	if _, err := Open(path, Options{Kind: "test", ReadOnly: true}, makeThings, double); !errors.Is(err, ErrOlder) {
		t.Errorf("read only: %v", err)
	}
	failing := func(tx *bbolt.Tx) error { return errors.Join(double(tx), errors.New("no")) }
	if _, err := Open(path, Options{Kind: "test"}, makeThings, double, failing); err == nil || !strings.Contains(err.Error(), "cannot be made 3 from 2") {
		t.Errorf("a migration that fails: %v", err)
	}
	db := open(t, path, Options{}, makeThings, double)
	if v := get(t, db, "key000999"); v != "valuevalue" {
		t.Errorf("migrated to %q", v)
	}
	db.end(t)
	db = open(t, path, Options{}, makeThings, double) // and not twice
	if v := get(t, db, "key000999"); v != "valuevalue" || db.SetAside() != "" {
		t.Errorf("opened again it has %q, set aside %q", v, db.SetAside())
	}
	db.end(t)
	if _, err := Open(path, Options{Kind: "test"}, makeThings); !errors.Is(err, ErrNewer) {
		t.Errorf("an older program: %v", err)
	}
	if _, err := Open(path, Options{Kind: "other"}, makeThings, double); !errors.Is(err, ErrOther) {
		t.Errorf("another kind: %v", err)
	}
}

func TestAFileInUseIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 1)
	for _, readOnly := range []bool{false, true} {
		if _, err := Open(path, Options{Kind: "test", ReadOnly: readOnly, Wait: 1}, makeThings); !errors.Is(err, ErrLocked) {
			t.Errorf("read only %v: %v", readOnly, err)
		}
	}
	db.end(t)
	first := open(t, path, Options{ReadOnly: true}, makeThings)
	second := open(t, path, Options{ReadOnly: true}, makeThings)
	if get(t, first, "key000000") != get(t, second, "key000000") {
		t.Error("two readers differ")
	}
	if err := first.Update(func(*bbolt.Tx) error { return nil }); err == nil {
		t.Error("a reader could write")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.db"), Options{Kind: "test", ReadOnly: true}, makeThings); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
}

// asides are the names that damaged files have been given.
func asides(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + ".damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestADamagedFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 20_000)
	db.end(t)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	half := len(sound) / 2
	garbage := bytes.Clone(sound)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 8192; i < len(garbage); i++ {
		garbage[i] = byte(r.Uint32())
	}
	zeroed := bytes.Clone(sound)
	clear(zeroed[8192:half])
	for name, damaged := range map[string][]byte{
		"text":             []byte("this is not a database\n"),
		"long text":        bytes.Repeat([]byte("this is not a database\n"), 10_000),
		"first pages only": sound[:8192],
		"half of it":       sound[:half],
		"a page and more":  sound[:6000],
		"noise after meta": garbage,
		"zeroes inside":    zeroed,
		"zeroes all over":  make([]byte, len(sound)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, Options{Kind: "test", ReadOnly: true}, makeThings); !errors.Is(err, ErrCorrupt) {
				t.Errorf("read only: %v", err)
			}
			db := open(t, path, Options{}, makeThings)
			put(t, db, 3)
			names := asides(t, path)
			if len(names) != 1 || names[0] != db.SetAside() {
				t.Fatalf("set aside %q, it says %q", names, db.SetAside())
			}
			if kept, err := os.ReadFile(names[0]); err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("what was set aside is not what was there: %v", err)
			}
		})
	}
}

// Damage anywhere never ends the program: it is an error, or not noticed.
func TestDamageAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 3000)
	db.end(t)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 150 {
		damaged := bytes.Clone(sound)
		at := r.IntN(len(damaged) - 64)
		for i := range 1 + r.IntN(64) {
			damaged[at+i] = byte(r.Uint32())
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(path, Options{Kind: "test", ReadOnly: true}, makeThings)
		if err != nil {
			refused++
			continue
		}
		_ = db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(thing).ForEach(func(_, _ []byte) error { return nil })
		})
		db.end(t)
	}
	t.Logf("%d of 150 refused", refused)
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

func TestDamageWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 20_000)
	if err := os.Truncate(path, 16<<10); err != nil {
		t.Fatal(err)
	}
	read := func() error {
		return db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(thing).ForEach(func(_, _ []byte) error { return nil })
		})
	}
	if err := read(); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("reading what is gone: %v", err)
	}
	_ = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(thing).Put([]byte("x"), []byte("y")) })
	if err := db.Reopen(); err != nil {
		t.Fatal(err)
	}
	put(t, db, 10)
	if len(asides(t, path)) != 1 || read() != nil || !db.InPlace() {
		t.Errorf("set aside %q, then %v", asides(t, path), read())
	}
}

// A fault of the caller's own is an error too, and costs no file.
func TestAPanicInsideKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	put(t, db, 5)
	if err := db.Update(func(*bbolt.Tx) error { panic("mine") }); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if err := db.Reopen(); err != nil {
		t.Fatal(err)
	}
	if get(t, db, "key000004") != "value" || db.SetAside() != "" {
		t.Errorf("what was there is gone; set aside %q", db.SetAside())
	}
}

func TestAFileTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path, Options{}, makeThings)
	if !db.InPlace() {
		t.Fatal("it is there")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if db.InPlace() {
		t.Fatal("it is gone")
	}
	if err := db.Reopen(); err != nil || !db.InPlace() {
		t.Fatalf("opened again: %v", err)
	}
	put(t, db, 1)
	db.end(t)
	if err := db.View(func(*bbolt.Tx) error { return nil }); err == nil {
		t.Error("a closed file could be read")
	}
}

// A disk that damages files again and again is not filled by their copies.
func TestDamagedFilesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	other := filepath.Join(filepath.Dir(path), "y.db.damaged-20200101T000000Z")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * keptAside {
		old := fmt.Sprintf("%s.damaged-2020010%dT000000Z", path, i+1)
		if i < 2*keptAside {
			if err := os.WriteFile(old, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "damaged %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		db := open(t, path, Options{}, makeThings)
		names := asides(t, path)
		if len(names) > keptAside || !slices.Contains(names, db.SetAside()) {
			t.Errorf("round %d: there are %q, and %s is new", i, names, db.SetAside())
		}
		if kept, err := os.ReadFile(db.SetAside()); err != nil || string(kept) != fmt.Sprintf("damaged %d", i) {
			t.Errorf("round %d: %q, %v", i, kept, err)
		}
		db.end(t)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("another file's copy was removed:", err)
	}
}

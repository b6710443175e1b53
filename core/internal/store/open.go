package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// Migration brings a file from one schema version to the next, within the
// transaction that all of them share: a file is migrated whole or not at all.
// The first one makes what an empty file needs.
type Migration func(tx *bbolt.Tx) error

// Options say how a file is opened.
type Options struct {
	// Kind is what the file holds, as "history". A file of another kind is
	// refused.
	Kind string
	// ReadOnly opens a file that is there and up to date, beside others who
	// read it. Nothing is set aside.
	ReadOnly bool
	// Wait is how long another process's lock is waited for; 0: 200 ms.
	Wait time.Duration
}

const (
	defaultWait = 200 * time.Millisecond
	// verifyUpTo is how large a file may be, in octets, to be read as a whole
	// each time it is opened: a fraction of a second.
	verifyUpTo = 32 << 20
	// minFile is two pages, which every file of bbolt has, in octets.
	minFile  = 8 << 10
	fileMode = 0o640
	dirMode  = 0o750
)

// The bucket that tells what a file is.
var (
	metaBucket = []byte("meta")
	kindKey    = []byte("kind")
	versionKey = []byte("version") // big-endian u64: migrations done
)

// DB is an open file. Its methods may be called from several goroutines.
type DB struct {
	path       string
	opt        Options
	migrations []Migration

	mu    sync.RWMutex // held for writing while the file is closed or changed
	bolt  *bbolt.DB    // nil: closed
	info  os.FileInfo  // of the open file
	aside string       // what Open or Reopen has last set aside
}

// Open opens a file, makes it where there is none, and brings it up to date.
// A damaged one is set aside under a name with the time, and a new one made:
// SetAside tells. Errors are ErrLocked, ErrDenied, ErrFull, ErrNewer, ErrOther
// and, only with ReadOnly, ErrCorrupt, ErrOlder and fs.ErrNotExist.
func Open(path string, opt Options, migrations ...Migration) (*DB, error) {
	db := &DB{path: path, opt: opt, migrations: migrations}
	if err := db.open(false); err != nil {
		return nil, wrap(path, err)
	}
	return db, nil
}

// open opens the file, and a new one where it is damaged.
func (db *DB) open(verify bool) error {
	if !db.opt.ReadOnly {
		if err := os.MkdirAll(filepath.Dir(db.path), dirMode); err != nil {
			return err
		}
	}
	err := db.openFile(verify)
	if !errors.Is(err, ErrCorrupt) || db.opt.ReadOnly {
		return err
	}
	if err := db.putAside(); err != nil {
		return err
	}
	return db.openFile(false)
}

func (db *DB) openFile(verify bool) error {
	fresh := false
	switch info, err := os.Stat(db.path); {
	case errors.Is(err, fs.ErrNotExist) && !db.opt.ReadOnly:
		fresh = true
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return ErrOther
	case info.Size() == 0 && !db.opt.ReadOnly:
		fresh = true
	case info.Size() < minFile:
		return fmt.Errorf("%w: it has only %d octets", ErrCorrupt, info.Size())
	}
	err := db.attach(verify)
	if err != nil && fresh {
		_ = os.Remove(db.path) // a part of one would pass for a damaged one
	}
	return classify(err)
}

// attach opens the file, checks it, and migrates it.
func (db *DB) attach(verify bool) (err error) {
	var file *os.File
	open := func(path string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(path, flag, mode)
		file = f
		return f, err
	}
	wait := db.opt.Wait
	if wait == 0 {
		wait = defaultWait
	}
	var b *bbolt.DB
	err = guard(func() (err error) {
		b, err = bbolt.Open(db.path, fileMode, &bbolt.Options{
			Timeout: wait, ReadOnly: db.opt.ReadOnly, FreelistType: bbolt.FreelistMapType, OpenFile: open,
		})
		return err
	})
	if err != nil {
		if file != nil {
			_ = file.Close() // where bbolt panicked it still holds the lock
		}
		return err
	}
	if db.info, err = file.Stat(); err == nil {
		err = check(b, db.info.Size(), verify || db.info.Size() <= verifyUpTo)
	}
	if err == nil {
		err = db.migrate(b)
	}
	if err != nil {
		shut(b)
		return err
	}
	db.bolt = b
	return nil
}

// check tells whether a file can be read: its end is there and, where all of
// it is asked for, every page is what it should be.
func check(b *bbolt.DB, size int64, all bool) error {
	return guard(func() error {
		return b.View(func(tx *bbolt.Tx) error {
			if tx.Size() > size {
				return fmt.Errorf("%w: it has %d octets of %d", ErrCorrupt, size, tx.Size())
			}
			if !all {
				return nil
			}
			return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error { return readAll(bucket) })
		})
	})
}

func readAll(bucket *bbolt.Bucket) error {
	return bucket.ForEach(func(k, v []byte) error {
		if v == nil {
			if inner := bucket.Bucket(k); inner != nil {
				return readAll(inner)
			}
		}
		return nil
	})
}

// migrate makes a file what this program reads and writes.
func (db *DB) migrate(b *bbolt.DB) error {
	return guard(func() error {
		have, err := db.version(b)
		want := uint64(len(db.migrations))
		switch {
		case err != nil:
			return err
		case have == want:
			return nil
		case have > want:
			return fmt.Errorf("%w (its schema is %d, this program knows up to %d)", ErrNewer, have, want)
		case db.opt.ReadOnly:
			return fmt.Errorf("%w (its schema is %d, this program's %d)", ErrOlder, have, want)
		}
		return b.Update(func(tx *bbolt.Tx) error {
			for i, step := range db.migrations[have:] {
				if err := step(tx); err != nil {
					return fmt.Errorf("its schema cannot be made %d from %d: %w", have+uint64(i)+1, have+uint64(i), err)
				}
			}
			meta, err := tx.CreateBucketIfNotExists(metaBucket)
			if err != nil {
				return err
			}
			return errors.Join(meta.Put(kindKey, []byte(db.opt.Kind)), meta.Put(versionKey, binary.BigEndian.AppendUint64(nil, want)))
		})
	})
}

// version is a file's schema version, 0 of an empty one.
func (db *DB) version(b *bbolt.DB) (version uint64, err error) {
	err = b.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if first, _ := tx.Cursor().First(); first != nil {
				return ErrOther
			}
			return nil
		}
		if kind := meta.Get(kindKey); string(kind) != db.opt.Kind {
			return fmt.Errorf("%w (%.40q, not %q)", ErrOther, kind, db.opt.Kind)
		}
		v := meta.Get(versionKey)
		if len(v) != 8 {
			return fmt.Errorf("%w: it has no schema version", ErrCorrupt)
		}
		version = binary.BigEndian.Uint64(v)
		return nil
	})
	return version, err
}

// putAside gives a damaged file a name with the time.
func (db *DB) putAside() error {
	name := db.path + asideMark + time.Now().UTC().Format("20060102T150405Z")
	for i := 1; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s%s%s-%d", db.path, asideMark, time.Now().UTC().Format("20060102T150405Z"), i)
	}
	if err := os.Rename(db.path, name); err != nil {
		return fmt.Errorf("%w, and cannot be set aside: %w", ErrCorrupt, err)
	}
	db.aside = name
	db.thinOut()
	return nil
}

// asideMark stands between a damaged file's name and the time.
const asideMark = ".damaged-"

// keptAside is how many damaged files are kept: the newest ones, since a disk that
// damages files would be filled by what it has damaged.
const keptAside = 3

// thinOut removes the oldest of the damaged files. What cannot be removed stays.
func (db *DB) thinOut() {
	entries, err := os.ReadDir(filepath.Dir(db.path))
	if err != nil {
		return
	}
	var kept []string // by name, and so by the time that it was set aside
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), filepath.Base(db.path)+asideMark) {
			kept = append(kept, e.Name())
		}
	}
	for _, name := range kept[:max(0, len(kept)-keptAside)] {
		if path := filepath.Join(filepath.Dir(db.path), name); path != db.aside { // the clock may have gone back
			_ = os.Remove(path)
		}
	}
}

// guard runs f and turns what bbolt makes of a damaged file into an error: a
// panic, or a fault where it reads beyond the file's end.
func guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}

// shut closes a file; false means that it cannot be, since a transaction on a
// damaged one has not let go of it. Then it stays open and locked.
func shut(b *bbolt.DB) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guard(b.Close) // what is written was synced by its transaction
	}()
	select {
	case <-done:
		return true
	case <-time.After(shutTime):
		return false
	}
}

// shutTime is more than closing takes.
const shutTime = 2 * time.Second

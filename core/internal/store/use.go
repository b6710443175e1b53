package store

import (
	"errors"
	"os"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// SetAside is the name that the last damaged file has now, "" if there was
// none.
func (db *DB) SetAside() string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.aside
}

// View runs f in a transaction that reads. It should be short: what is replaced
// meanwhile takes room until it ends. ErrCorrupt: the file cannot be read, see
// Reopen.
func (db *DB) View(f func(*bbolt.Tx) error) error {
	return db.with(func(b *bbolt.DB) error { return b.View(f) })
}

// Update runs f in a transaction that writes, and has the file synced when it
// returns. Nothing of it is kept where f or Update returns an error: ErrFull,
// ErrCorrupt (see Reopen), or what f or the system said.
func (db *DB) Update(f func(*bbolt.Tx) error) error {
	return db.with(func(b *bbolt.DB) error { return b.Update(f) })
}

func (db *DB) with(f func(*bbolt.DB) error) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.bolt == nil {
		return wrap(db.path, berrors.ErrDatabaseNotOpen)
	}
	return wrap(db.path, guard(func() error { return f(db.bolt) }))
}

// Size is what the file takes on disk, in octets, and how many of them are
// free to be used again.
func (db *DB) Size() (size, free int64, err error) {
	err = db.with(func(b *bbolt.DB) error {
		return b.View(func(tx *bbolt.Tx) error {
			size = tx.Size()
			free = int64(b.Stats().FreePageN+b.Stats().PendingPageN) * int64(b.Info().PageSize)
			return nil
		})
	})
	return size, free, err
}

// InPlace tells whether the open file is still the one under its name. One
// that was removed or replaced takes what is written and keeps it from everybody.
func (db *DB) InPlace() bool {
	db.mu.RLock()
	defer db.mu.RUnlock()
	now, err := os.Stat(db.path)
	return err == nil && db.bolt != nil && os.SameFile(now, db.info)
}

// Reopen closes the file, reads all of it, and opens it again, or a new one
// where it is damaged or gone.
func (db *DB) Reopen() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	released := true
	if b := db.bolt; b != nil {
		db.bolt = nil
		released = shut(b)
	}
	if released || db.opt.ReadOnly {
		return wrap(db.path, db.open(true))
	}
	// What it is stuck in is damage, and its lock ends with the process only.
	if err := db.putAside(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrap(db.path, err)
	}
	return wrap(db.path, db.open(false))
}

// Close closes the file. What Update has written was synced by then.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	b := db.bolt
	db.bolt = nil
	if b != nil && !shut(b) {
		return wrap(db.path, ErrCorrupt)
	}
	return nil
}

// compactBatch is how many octets one transaction of Compact writes.
const compactBatch = 4 << 20

// Compact writes the file anew without its free room, which is otherwise kept
// for what is written later. It needs as much room again as is in use.
func (db *DB) Compact() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.bolt == nil {
		return wrap(db.path, berrors.ErrDatabaseNotOpen)
	}
	temp := db.path + ".compact"
	_ = os.Remove(temp) // of a run that died
	err := guard(func() error {
		small, err := bbolt.Open(temp, fileMode, &bbolt.Options{Timeout: defaultWait, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		return errors.Join(bbolt.Compact(small, db.bolt, compactBatch), small.Sync(), small.Close())
	})
	if err == nil && !shut(db.bolt) {
		err = ErrCorrupt
	}
	if err != nil {
		_ = os.Remove(temp)
		return wrap(db.path, err)
	}
	db.bolt = nil
	if err := os.Rename(temp, db.path); err != nil {
		_ = os.Remove(temp)
		return wrap(db.path, errors.Join(err, db.open(false)))
	}
	return wrap(db.path, db.open(false))
}

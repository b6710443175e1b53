package store

import (
	"math"
	"time"

	"go.etcd.io/bbolt"
)

// compactFrom is from which size on, in octets, a file that is mostly free room
// is made small.
const compactFrom = 16 << 20

// retain removes what is too old, and then the oldest while there is too much.
func (h *History) retain(db *DB) error {
	h.retained, h.batches = time.Now(), 0
	keep := h.opt.Retention()
	removed := 0
	remove := func(before time.Time, octets int64) (n int, err error) {
		err = db.Update(func(tx *bbolt.Tx) (err error) {
			t := tablesOf(tx)
			n, err = t.removeOldest(before, octets)
			return err
		})
		removed += n
		return n, err
	}
	for n := removeBatch; keep.Keep > 0 && n == removeBatch && h.ctx.Err() == nil; {
		var err error
		if n, err = remove(time.Now().Add(-keep.Keep), math.MaxInt64); err != nil {
			return err
		}
	}
	for h.ctx.Err() == nil && keep.Max > 0 {
		size, free, err := db.Size()
		if err != nil {
			return err
		}
		over := size - free - int64(keep.Max/10*9) // what is written next must fit too
		if over <= 0 {
			break
		}
		if n, err := remove(time.Time{}, over); err != nil || n == 0 {
			return err
		}
	}
	if removed > 0 {
		h.opt.Log.Info("old attacks were removed from the history", "attacks", removed, "keep", keep.Keep, "max_size", keep.Max)
	}
	return h.compact(db, keep.Max)
}

// compact makes a file small that is larger than it may be, and mostly free.
func (h *History) compact(db *DB, most uint64) error {
	size, free, err := db.Size()
	if err != nil || most == 0 || uint64(size) <= most || size < compactFrom || free < size/2 {
		return err
	}
	return db.Compact()
}

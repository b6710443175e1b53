package store

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// The journal's buckets.
var (
	openBucket  = []byte("open")  // by id
	pastBucket  = []byte("past")  // by number
	auditBucket = []byte("audit") // by number
	restBucket  = []byte("rest")  // by name
)

// maxPast bounds what is kept of what is over, and of what people did.
const maxPast = 10_000

// Journal is the file of mitigations: what is open by id, what is over and what
// people did in order, and values by name. What is in them is the caller's.
type Journal struct{ *DB }

// JournalChange is what one transaction does.
type JournalChange struct {
	Open  map[string][]byte // nil: it is over
	Past  [][]byte
	Audit [][]byte
	Rest  map[string][]byte
	// Whole says that Open is all there is.
	Whole bool
}

// OpenJournal opens the journal; see Open.
func OpenJournal(path string, opt Options) (*Journal, error) {
	opt.Kind = "mitigations"
	db, err := Open(path, opt, func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{openBucket, pastBucket, auditBucket, restBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Journal{db}, nil
}

// Write makes a change, whole or not at all, and has it synced.
func (j *Journal) Write(c *JournalChange) error {
	return j.Update(func(tx *bbolt.Tx) error {
		open := tx.Bucket(openBucket)
		if c.Whole {
			if err := tx.DeleteBucket(openBucket); err != nil {
				return err
			}
			var err error
			if open, err = tx.CreateBucket(openBucket); err != nil {
				return err
			}
		}
		if err := putAll(open, c.Open); err != nil {
			return err
		}
		if err := putAll(tx.Bucket(restBucket), c.Rest); err != nil {
			return err
		}
		if err := appendAll(tx.Bucket(pastBucket), c.Past); err != nil {
			return err
		}
		return appendAll(tx.Bucket(auditBucket), c.Audit)
	})
}

func putAll(b *bbolt.Bucket, values map[string][]byte) error {
	for k, v := range values {
		var err error
		if v == nil {
			err = b.Delete([]byte(k))
		} else {
			err = b.Put([]byte(k), v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appendAll numbers values on, and drops the oldest ones.
func appendAll(b *bbolt.Bucket, values [][]byte) error {
	for _, v := range values {
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, n), v); err != nil {
			return err
		}
		if n <= maxPast {
			continue
		}
		if err := b.Delete(binary.BigEndian.AppendUint64(nil, n-maxPast)); err != nil {
			return err
		}
	}
	return nil
}

// Load reads what is open, and the values by name.
func (j *Journal) Load() (open, rest map[string][]byte, err error) {
	open, rest = map[string][]byte{}, map[string][]byte{}
	err = j.View(func(tx *bbolt.Tx) error {
		for name, to := range map[string]map[string][]byte{string(openBucket): open, string(restBucket): rest} {
			if err := tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				to[string(k)] = bytes.Clone(v)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return open, rest, err
}

// Past reads what is over, newest first, at most so many.
func (j *Journal) Past(most int) ([][]byte, error) { return j.newest(pastBucket, most) }

// Audit reads what people did, newest first, at most so many.
func (j *Journal) Audit(most int) ([][]byte, error) { return j.newest(auditBucket, most) }

func (j *Journal) newest(bucket []byte, most int) (out [][]byte, err error) {
	err = j.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Last(); k != nil && len(out) < most; k, v = c.Prev() {
			out = append(out, bytes.Clone(v))
		}
		return nil
	})
	return out, err
}

package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Buckets of a history.
var (
	rowsBucket    = []byte("rows")    // key → row
	recordsBucket = []byte("records") // key → the newest event
	idsBucket     = []byte("ids")     // id of an attack → key
	indexBucket   = []byte("index")   // kind, value, key → nothing
	namesBucket   = []byte("names")   // kind, name → number; '#', number → name
)

// historyMigrations make a history of any version one of this.
var historyMigrations = []Migration{func(tx *bbolt.Tx) error {
	for _, name := range [][]byte{rowsBucket, recordsBucket, idsBucket, indexBucket, namesBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}}

// tables are the buckets within a transaction.
type tables struct {
	rows, records, ids, index, names *bbolt.Bucket
}

func tablesOf(tx *bbolt.Tx) tables {
	t := tables{tx.Bucket(rowsBucket), tx.Bucket(recordsBucket), tx.Bucket(idsBucket), tx.Bucket(indexBucket), tx.Bucket(namesBucket)}
	if tx.Writable() { // both grow at their end
		t.rows.FillPercent, t.records.FillPercent = 0.9, 0.9
	}
	return t
}

// Kinds of name.
const (
	labelName     = 'l'
	groupName     = 'g'
	networkName   = 'n'
	thresholdName = 't'
)

func nameKey(kind byte, name string) []byte {
	return append([]byte{kind}, name[:min(len(name), maxText)]...)
}

// number finds a name's number; 0 is none.
func (t *tables) number(kind byte, name string) uint32 {
	if v := t.names.Get(nameKey(kind, name)); len(v) == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// numbered gives a name a number.
func (t *tables) numbered(kind byte, name string) (uint32, error) {
	if n := t.number(kind, name); n != 0 {
		return n, nil
	}
	seq, err := t.names.NextSequence()
	if err != nil {
		return 0, err
	}
	v := binary.BigEndian.AppendUint32(nil, uint32(seq))
	k := nameKey(kind, name)
	if err := t.names.Put(k, v); err != nil {
		return 0, err
	}
	return uint32(seq), t.names.Put(append([]byte{'#'}, v...), k[1:])
}

// name is the name with a number.
func (t *tables) name(n uint32) string {
	return string(t.names.Get(append([]byte{'#'}, binary.BigEndian.AppendUint32(nil, n)...)))
}

// put writes an attack as its newest event has it.
func (t *tables) put(e *sdk.Event, encoded []byte) error {
	id := e.ID[:min(len(e.ID), maxID)]
	k, old, err := t.place(e, id)
	if err != nil {
		return err
	}
	now := row{state: StateOpen, outgoing: e.Direction == "outgoing", target: e.Target.Masked(), last: e.Time.UnixNano(), peak: e.PeakPPS, id: []byte(id)}
	if e.Type == sdk.AttackEnded {
		now.state = StateEnded
	}
	for _, n := range []struct {
		to   *uint32
		kind byte
		name string
	}{{&now.label, labelName, labelOf(e)}, {&now.group, groupName, e.HostGroup}, {&now.network, networkName, e.Network}} {
		if *n.to, err = t.numbered(n.kind, n.name); err != nil {
			return err
		}
	}
	for i := range e.Crossed[:min(len(e.Crossed), maxThresholds)] {
		n, err := t.numbered(thresholdName, e.Crossed[i].Threshold)
		if err != nil {
			return err
		}
		if !slices.Contains(now.thresholds, n) {
			now.thresholds = append(now.thresholds, n)
		}
	}
	if err := t.records.Put(k[:], encoded); err != nil {
		return err
	}
	return t.change(k, old, &now)
}

// labelOf is what an attack is found by: its label or, where it has none yet,
// its type.
func labelOf(e *sdk.Event) string {
	if e.Label != "" {
		return e.Label
	}
	return e.AttackType
}

// place finds an attack's key and row, or makes it a key.
func (t *tables) place(e *sdk.Event, id string) (k key, old *row, err error) {
	if at := t.ids.Get([]byte(id)); len(at) == len(k) {
		k = keyOf(at)
		old = &row{}
		if old.read(t.rows.Get(k[:])) != nil {
			old = nil // it is written anew
		}
		return k, old, nil
	}
	seq, err := t.rows.NextSequence()
	if err != nil {
		return k, nil, err
	}
	k = newKey(e.Started, seq)
	return k, nil, t.ids.Put([]byte(id), k[:])
}

// change replaces a row and the entries that lead to it; old or now may be nil.
func (t *tables) change(k key, old, now *row) error {
	var before, after [][]byte
	if old != nil {
		before = old.indexes(k)
	}
	if now != nil {
		after = now.indexes(k)
	}
	has := func(list [][]byte, x []byte) bool {
		return slices.ContainsFunc(list, func(y []byte) bool { return bytes.Equal(x, y) })
	}
	for _, x := range before {
		if !has(after, x) {
			if err := t.index.Delete(x); err != nil {
				return err
			}
		}
	}
	for _, x := range after {
		if !has(before, x) {
			if err := t.index.Put(x, nil); err != nil {
				return err
			}
		}
	}
	if now == nil {
		return t.rows.Delete(k[:])
	}
	return t.rows.Put(k[:], now.append(nil))
}

// interrupt says of all open attacks, but for those that live, that nobody saw
// their end.
func (t *tables) interrupt(live map[string]struct{}) (n int, err error) {
	var keys []key
	prefix := []byte{byState, byte(StateOpen)}
	c := t.index.Cursor()
	for x, _ := c.Seek(prefix); bytes.HasPrefix(x, prefix); x, _ = c.Next() {
		keys = append(keys, keyOf(x))
	}
	for _, k := range keys {
		var old row
		if old.read(t.rows.Get(k[:])) != nil {
			continue
		}
		if _, ok := live[string(old.id)]; ok {
			continue
		}
		now := old
		now.state = StateInterrupted
		if err := t.change(k, &old, &now); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

const (
	// removeBatch bounds what one transaction removes: few large ones write the
	// pages of the index less often.
	removeBatch = 4000
	// removeLook bounds the rows that it looks at.
	removeLook = 2 * removeBatch
	// entriesOf is about what an attack takes beside its record, in octets.
	entriesOf = 600
)

// removeOldest takes away attacks that began before a time (zero is any), the
// oldest first, at most a batch, or as many as take so many octets. Open ones
// stay.
func (t *tables) removeOldest(before time.Time, octets int64) (n int, err error) {
	var keys []key
	var r row
	c := t.rows.Cursor()
	looked := 0
	for x, v := c.First(); x != nil && len(keys) < removeBatch && looked < removeLook && octets > 0; x, v = c.Next() {
		k := keyOf(x)
		if !before.IsZero() && k.started() >= before.UnixNano() {
			break
		}
		looked++
		if r.read(v) == nil && r.state == StateOpen {
			continue
		}
		keys = append(keys, k)
		octets -= int64(len(t.records.Get(x))) + entriesOf
	}
	for _, k := range keys {
		if err := t.remove(k); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (t *tables) remove(k key) error {
	var r row
	if r.read(t.rows.Get(k[:])) == nil {
		id := bytes.Clone(r.id)
		if err := t.change(k, &r, nil); err != nil {
			return err
		}
		if err := t.ids.Delete(id); err != nil {
			return err
		}
	}
	if err := t.rows.Delete(k[:]); err != nil {
		return err
	}
	return t.records.Delete(k[:])
}

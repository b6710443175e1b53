package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Bounds of a page.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// Query asks for attacks. What is not set excludes none.
type Query struct {
	Since, Until time.Time    // of the start: from Since on, before Until
	Target       netip.Prefix // its target is in it, or holds it
	Label        string       // or, of an attack without, its type
	Group        string
	Threshold    string // any that it crossed
	State        State
	MinPeak      float64 // packets per second
	Limit        int     // 1 to MaxPage; 0: DefaultPage
	After        string  // Next of the page before
}

// Attack is one of the history.
type Attack struct {
	Event  sdk.Event // the newest, without samples
	State  State
	Ended  time.Time // zero: it goes on; of an interrupted one when it was last told of
	Cursor string    // Query.After of a page that begins after it; from List only
}

// Page is attacks, the newest first.
type Page struct {
	Attacks []Attack
	Next    string // Query.After of the next page; "": there is none
	Damaged int    // that were left out, since they cannot be read
}

// Errors of a Reader.
var (
	ErrBadCursor = errors.New("that is no cursor of a page: use the one that the page before ends with")
	ErrNoAttack  = errors.New("the history has no attack with that id")
	ErrAmbiguous = errors.New("several attacks have ids that begin so: give more of it")
	ErrNotOpen   = errors.New("the attack history is not open")
)

// Reader looks into a history.
type Reader struct {
	db *DB
	// dead says that no daemon writes: what is open was interrupted.
	dead bool
}

// Reader returns one on the open history. ErrNotOpen: it cannot be used now,
// and Troubles says why.
func (h *History) Reader() (*Reader, error) {
	db := h.db.Load()
	if db == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.fault != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotOpen, h.fault)
		}
		return nil, ErrNotOpen
	}
	return &Reader{db: db}, nil
}

// OpenReader opens the history of a daemon that does not run. fs.ErrNotExist:
// there is none. ErrLocked: a daemon runs.
func OpenReader(path string) (*Reader, error) {
	db, err := Open(path, Options{Kind: historyKind, ReadOnly: true}, historyMigrations...)
	if err != nil {
		return nil, err
	}
	return &Reader{db: db, dead: true}, nil
}

// Close closes what OpenReader has opened.
func (r *Reader) Close() error { return r.db.Close() }

// List gives a page of the attacks that a query asks for.
func (r *Reader) List(ctx context.Context, q Query) (Page, error) {
	if q.Limit == 0 {
		q.Limit = DefaultPage
	}
	var page Page
	err := r.db.View(func(tx *bbolt.Tx) error {
		t := tablesOf(tx)
		f, possible, err := r.filter(&t, &q)
		if err != nil || !possible {
			return err
		}
		found := 0
		return f.each(ctx, func(k key, at *row) bool {
			if found == q.Limit {
				page.Next = page.Attacks[found-1].Cursor
				return false
			}
			e, err := decode(t.records.Get(k[:]))
			if err != nil {
				page.Damaged++
				return true
			}
			a := r.attack(e, at)
			a.Cursor = hex.EncodeToString(k[:])
			page.Attacks = append(page.Attacks, a)
			found++
			return true
		})
	})
	return page, err
}

func (r *Reader) attack(e sdk.Event, row *row) Attack {
	a := Attack{Event: e, State: r.stateOf(row)}
	if a.State != StateOpen {
		a.Ended = time.Unix(0, row.last).UTC()
	}
	return a
}

func (r *Reader) stateOf(row *row) State {
	if r.dead && row.state == StateOpen {
		return StateInterrupted
	}
	return row.state
}

// minShort is how much of an id is enough, if no other begins so.
const minShort = 4

// Get finds an attack by its id, or what it begins with.
func (r *Reader) Get(id string) (a Attack, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		t := tablesOf(tx)
		c := t.ids.Cursor()
		x, place := c.Seek([]byte(id))
		exact := string(x) == id
		if !exact && (len(id) < minShort || !bytes.HasPrefix(x, []byte(id))) {
			return ErrNoAttack
		}
		if !exact {
			if y, _ := c.Next(); bytes.HasPrefix(y, []byte(id)) {
				return ErrAmbiguous
			}
		}
		k := keyOf(place)
		var at row
		if err := at.read(t.rows.Get(k[:])); err != nil {
			return err
		}
		e, err := decode(t.records.Get(k[:]))
		a = r.attack(e, &at)
		return err
	})
	return a, err
}

// filter is a query, names turned into numbers.
type filter struct {
	t                       *tables
	from, to                key // from ≤ key < to
	target                  netip.Prefix
	label, group, threshold uint32
	states                  []State // any of them; none: all
	minPeak                 float64
}

var lastKey = key(bytes.Repeat([]byte{0xff}, 16))

// filter compiles a query; possible false means that nothing can be found.
func (r *Reader) filter(t *tables, q *Query) (f *filter, possible bool, err error) {
	f = &filter{t: t, to: lastKey, target: q.Target.Masked(), minPeak: q.MinPeak}
	if !q.Since.IsZero() {
		f.from = newKey(q.Since, 0)
	}
	if !q.Until.IsZero() {
		f.to = newKey(q.Until, 0)
	}
	if q.After != "" {
		b, err := hex.DecodeString(q.After)
		if err != nil || len(b) != len(f.to) {
			return nil, false, ErrBadCursor
		}
		if after := key(b); bytes.Compare(after[:], f.to[:]) < 0 {
			f.to = after
		}
	}
	switch {
	case q.State == 0:
	case r.dead && q.State == StateOpen:
		return nil, false, nil
	case r.dead && q.State == StateInterrupted:
		f.states = []State{StateInterrupted, StateOpen}
	default:
		f.states = []State{q.State}
	}
	for _, n := range []struct {
		to   *uint32
		kind byte
		name string
	}{{&f.label, labelName, q.Label}, {&f.group, groupName, q.Group}, {&f.threshold, thresholdName, q.Threshold}} {
		if n.name == "" {
			continue
		}
		if *n.to = t.number(n.kind, n.name); *n.to == 0 {
			return nil, false, nil
		}
	}
	return f, true, nil
}

func (f *filter) match(r *row) bool {
	return (f.label == 0 || r.label == f.label) && (f.group == 0 || r.group == f.group) && r.peak >= f.minPeak &&
		(f.threshold == 0 || slices.Contains(r.thresholds, f.threshold)) &&
		(len(f.states) == 0 || slices.Contains(f.states, r.state)) &&
		(!f.target.IsValid() || f.target.Overlaps(r.target))
}

// maxKeys is how many keys of an index are taken before going through all rows
// is quicker: a row found by its key costs three times one that is next.
const maxKeys = 100_000

// each calls found for every row that matches, the newest first, until it
// returns false.
func (f *filter) each(ctx context.Context, found func(key, *row) bool) error {
	var r row
	keys, few := f.fewest()
	if !few {
		return f.scan(ctx, &r, found)
	}
	for i := len(keys) - 1; i >= 0; i-- {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		k := keys[i]
		if r.read(f.t.rows.Get(k[:])) == nil && f.match(&r) && !found(k, &r) {
			return nil
		}
	}
	return nil
}

// scan goes through all rows of the time.
func (f *filter) scan(ctx context.Context, r *row, found func(key, *row) bool) error {
	c := f.t.rows.Cursor()
	x, v := c.Seek(f.to[:])
	if x == nil {
		x, v = c.Last()
	} else if bytes.Compare(x, f.to[:]) >= 0 {
		x, v = c.Prev()
	}
	for n := 0; x != nil && bytes.Compare(x, f.from[:]) >= 0; x, v = c.Prev() {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.read(v) == nil && f.match(r) && !found(keyOf(x), r) {
			return nil
		}
	}
	return nil
}

// fewest looks for the property that leaves the fewest attacks, and gives their
// keys, the oldest first. few is false where all leave many.
func (f *filter) fewest() (keys []key, few bool) {
	best := maxKeys
	for _, collect := range f.ways() {
		got, ok := collect(best)
		if !ok {
			continue
		}
		keys, few, best = got, true, len(got)
	}
	slices.SortFunc(keys, func(a, b key) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(keys), few
}

// ways are the indexes that serve a query, each a function that gives the keys,
// or false if there are more than most.
func (f *filter) ways() (out []func(most int) ([]key, bool)) {
	number := func(kind byte, n uint32) {
		if n != 0 {
			prefix := binary.BigEndian.AppendUint32([]byte{kind}, n)
			out = append(out, func(most int) ([]key, bool) { return f.collect(nil, prefix, prefix, most) })
		}
	}
	number(byThreshold, f.threshold)
	number(byGroup, f.group)
	number(byLabel, f.label)
	if len(f.states) > 0 && !slices.Contains(f.states, StateEnded) {
		out = append(out, func(most int) (keys []key, ok bool) {
			ok = true
			for _, s := range f.states {
				if prefix := []byte{byState, byte(s)}; ok {
					keys, ok = f.collect(keys, prefix, prefix, most)
				}
			}
			return keys, ok
		})
	}
	if f.minPeak >= 1 {
		out = append(out, func(most int) ([]key, bool) {
			return f.collect(nil, []byte{byPeak, peakClass(f.minPeak)}, []byte{byPeak, math.MaxUint8}, most)
		})
	}
	if f.target.IsValid() {
		out = append(out, f.byTarget)
	}
	return out
}

// byTarget collects the attacks on targets that overlap with the one asked for:
// those that begin in it, and those that are wider.
func (f *filter) byTarget(most int) (keys []key, ok bool) {
	p, ok := f.target, true
	for bits := 0; bits < p.Bits() && ok; bits++ {
		wider, err := p.Addr().Prefix(bits)
		if err != nil {
			return nil, false
		}
		entry := targetEntry(wider)
		keys, ok = f.collect(keys, entry, entry, most)
	}
	if !ok {
		return nil, false
	}
	end := targetEntry(netip.PrefixFrom(lastOf(p), p.Addr().BitLen()))
	return f.collect(keys, targetEntry(p), end, most)
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// collect adds the keys of index entries from one that begins with first to the
// last that begins with last; false if there would be more than most.
func (f *filter) collect(keys []key, first, last []byte, most int) ([]key, bool) {
	same := bytes.Equal(first, last) // then entries are ordered by time
	seek := first
	if same {
		seek = append(bytes.Clone(first), f.from[:]...)
	}
	c := f.t.index.Cursor()
	for x, _ := c.Seek(seek); x != nil && bytes.Compare(x[:min(len(x), len(last))], last) <= 0; x, _ = c.Next() {
		k := keyOf(x)
		if bytes.Compare(k[:], f.to[:]) >= 0 {
			if same {
				break
			}
			continue
		}
		if bytes.Compare(k[:], f.from[:]) < 0 {
			continue
		}
		if len(keys) >= most {
			return nil, false
		}
		keys = append(keys, k)
	}
	return keys, true
}

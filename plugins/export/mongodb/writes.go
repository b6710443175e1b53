package main

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// writes is what a batch of events comes to.
type writes struct {
	keep                 time.Duration
	events               []any // documents, in order
	attacks, mitigations *states
}

// states are the newest ones of some attacks or mitigations.
type states struct {
	ids    []any // in the order in which they came first
	newest map[any]state
}

// state is a document and what grows from one state to the next.
type state struct {
	doc     bson.D
	version int64
}

func newWrites(keep time.Duration) *writes {
	return &writes{keep: keep, attacks: &states{newest: map[any]state{}}, mitigations: &states{newest: map[any]state{}}}
}

func (s *states) set(id string, version int64, doc bson.D) {
	old, ok := s.newest[id]
	if !ok {
		s.ids = append(s.ids, id)
	}
	if !ok || version >= old.version {
		s.newest[id] = state{doc, version}
	}
}

// add takes one event.
func (w *writes) add(e *sdk.Event, number uint64) error {
	doc, err := eventDocument(e, number, w.keep)
	if err != nil {
		return err
	}
	w.events = append(w.events, doc)
	if m := e.Mitigation; e.Type == sdk.MitigationChanged && m != nil {
		if doc, err = mitigationDocument(m, w.keep); err != nil {
			return err
		}
		w.mitigations.set(m.ID, m.Time.UnixMilli(), doc)
		return nil
	}
	if doc, err = attackDocument(e, w.keep); err != nil {
		return err
	}
	w.attacks.set(e.ID, int64(e.Seq), doc)
	return nil
}

// number is a version that was read back; 0 if it is none.
func number(v any) int64 {
	switch x := v.(type) {
	case int64:
		return x
	case int32:
		return int64(x)
	case float64:
		return int64(x)
	case bson.DateTime:
		return int64(x)
	}
	return 0
}

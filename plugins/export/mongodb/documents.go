package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// dates are the fields whose texts are times: they become dates, which have
// milliseconds.
var dates = map[string]bool{
	"time": true, "started": true, "ended": true, "at": true, "first": true, "last": true, "requested": true, "expires": true,
}

// maxDepth is deeper than any JSON of an event nests.
const maxDepth = 32

// document makes a document of a JSON object: the fields stay in their order,
// whole numbers are 64-bit integers where they fit, and those of dates are dates,
// or null where they are not set.
func document(text []byte) (bson.D, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := value(d, "", maxDepth)
	if err != nil {
		return nil, err
	}
	out, ok := v.(bson.D)
	if !ok {
		return nil, errors.New("it is no object")
	}
	return out, nil
}

func value(d *json.Decoder, name string, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth == 0 {
		return nil, errors.New("it nests too deeply")
	}
	switch x := t.(type) {
	case json.Delim:
		if x == '{' {
			return object(d, depth)
		}
		return array(d, name, depth)
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n, nil
		}
		return x.Float64()
	case string:
		if !dates[name] {
			return x, nil
		}
		if x == "" {
			return nil, nil
		}
		if at, err := time.Parse(time.RFC3339Nano, x); err == nil {
			return bson.NewDateTimeFromTime(at), nil
		}
	}
	return t, nil
}

func object(d *json.Decoder, depth int) (any, error) {
	out := bson.D{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("a field has no name")
		}
		v, err := value(d, name, depth-1)
		if err != nil {
			return nil, err
		}
		out = append(out, bson.E{Key: name, Value: v})
	}
	_, err := d.Token()
	return out, err
}

func array(d *json.Decoder, name string, depth int) (any, error) {
	out := bson.A{}
	for d.More() {
		v, err := value(d, name, depth-1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := d.Token()
	return out, err
}

// documentOf is what has a JSON form as a document.
func documentOf(v any) (bson.D, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return document(text)
}

// until is the field that says when a document goes.
const until = "delete_after"

// eventDocument is an event of the collection of events: its fields, how many
// came before it, and when it goes.
func eventDocument(e *sdk.Event, number uint64, keep time.Duration) (bson.D, error) {
	d, err := documentOf(e)
	if err != nil {
		return nil, err
	}
	d = append(bson.D{{Key: "_id", Value: e.Key()}, {Key: "number", Value: int64(number)}}, d...)
	return append(d, bson.E{Key: until, Value: bson.NewDateTimeFromTime(e.Time.Add(keep))}), nil
}

// attackDocument is an attack as its newest event has it.
func attackDocument(e *sdk.Event, keep time.Duration) (bson.D, error) {
	d, err := documentOf(e)
	if err != nil {
		return nil, err
	}
	status, ended := "active", any(nil)
	if e.Type == sdk.AttackEnded {
		status, ended = "ended", bson.NewDateTimeFromTime(e.Time)
	}
	d = append(bson.D{{Key: "_id", Value: e.ID}, {Key: "status", Value: status}}, d...)
	return append(d, bson.E{Key: "ended", Value: ended}, bson.E{Key: until, Value: bson.NewDateTimeFromTime(e.Time.Add(keep))}), nil
}

// mitigationDocument is a mitigation in its newest state.
func mitigationDocument(m *sdk.MitigationReport, keep time.Duration) (bson.D, error) {
	d, err := documentOf(m)
	if err != nil {
		return nil, err
	}
	gone := m.Time
	if m.Expires.After(gone) {
		gone = m.Expires
	}
	return append(append(bson.D{{Key: "_id", Value: m.ID}}, d...), bson.E{Key: until, Value: bson.NewDateTimeFromTime(gone.Add(keep))}), nil
}

// communityDocument is what FastNetMon Community stores at a ban, with an id of
// our own making, so that the same ban is there once; nil for what it does not
// store: it knows IPv4 hosts alone here.
func communityDocument(e *sdk.Event) (bson.D, error) {
	if e.Type != sdk.AttackStarted || !e.Target.IsSingleIP() || !e.Target.Addr().Is4() {
		return nil, nil
	}
	text, err := report.Document(e, "ban")
	if err != nil {
		return nil, err
	}
	d, err := document(text)
	if err != nil {
		return nil, err
	}
	key := strings.ReplaceAll(e.Target.Addr().String(), ".", "_") + "_information_" + e.Time.Local().Format("02_01_06_15:04:05")
	return bson.D{{Key: "_id", Value: objectID(e)}, {Key: key, Value: d}}, nil
}

// objectID is made of an event's time and identity, and so the same for the
// same event.
func objectID(e *sdk.Event) (id bson.ObjectID) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(e.Key())) // it never fails
	binary.BigEndian.PutUint32(id[:], uint32(e.Time.Unix()))
	binary.BigEndian.PutUint64(id[4:], h.Sum64())
	return id
}

// rateDocuments are the documents of a snapshot: one for each row, with an id
// of its own, so that a snapshot that is written again is there once.
func rateDocuments(s *sdk.Snapshot) ([]any, error) {
	out := make([]any, 0, len(s.Totals)+len(s.Networks)+len(s.Groups)+len(s.Hosts)+len(s.Attacks)+len(s.Mitigations)+len(s.Ledger)+1)
	at := bson.NewDateTimeFromTime(s.Time)
	stamp := strconv.FormatInt(s.Time.UnixMilli(), 10)
	add := func(kind, name, direction string, fields ...bson.E) {
		id := stamp + "/" + kind + "/" + name
		d := bson.D{{Key: "_id", Value: id}, {Key: "time", Value: at}, {Key: "kind", Value: kind}, {Key: "name", Value: name}}
		if direction != "" {
			d[0].Value = id + "/" + direction
			d = append(d, bson.E{Key: "direction", Value: direction})
		}
		out = append(out, append(d, fields...))
	}
	for i := range s.Totals {
		t := &s.Totals[i]
		add("total", "ipv"+strconv.Itoa(t.Family), t.Direction, rateFields(t.Counters, t.Flows)...)
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		add("network", r.Name, r.Direction, rateFields(r.Counters, r.Flows)...)
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		add("hostgroup", r.Name, r.Direction, rateFields(r.Counters, r.Flows)...)
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		add("host", sdk.TargetText(h.Host), h.Direction, append(rateFields(h.Counters, h.Flows), bson.E{Key: "hostgroup", Value: h.Group}, bson.E{Key: "network", Value: h.Network})...)
	}
	for i := range s.Attacks {
		a := &s.Attacks[i]
		add("attack", a.ID, "", bson.E{Key: "target", Value: a.TargetName()}, bson.E{Key: "direction", Value: a.Direction}, bson.E{Key: "hostgroup", Value: a.HostGroup},
			bson.E{Key: "peak_pps", Value: a.PeakPPS}, bson.E{Key: "started", Value: bson.NewDateTimeFromTime(a.Started)})
	}
	for i := range s.Mitigations {
		d, err := documentOf(s.Mitigations[i])
		if err != nil {
			return nil, fmt.Errorf("mitigation %s: %w", s.Mitigations[i].ID, err)
		}
		add("mitigation", s.Mitigations[i].ID, "", bson.E{Key: "mitigation", Value: d})
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		add("input", l.Input, "", bson.E{Key: "received", Value: l.Received}, bson.E{Key: "used", Value: l.Used}, bson.E{Key: "in_flight", Value: l.InFlight}, bson.E{Key: "dropped", Value: l.Dropped})
	}
	values := make(bson.A, len(s.System))
	for i, m := range s.System {
		values[i] = bson.D{{Key: "name", Value: m.Name}, {Key: "value", Value: m.Value}}
	}
	add("system", "", "", bson.E{Key: "values", Value: values})
	return out, nil
}

// rateFields are the rates of something in one direction.
func rateFields(counters []sdk.CounterRate, flows float64) []bson.E {
	pps, bps := make(bson.D, len(counters)), make(bson.D, len(counters))
	for i, c := range counters {
		pps[i], bps[i] = bson.E{Key: c.Counter, Value: c.PPS}, bson.E{Key: c.Counter, Value: c.BPS}
	}
	return []bson.E{{Key: "pps", Value: pps}, {Key: "bps", Value: bps}, {Key: "flows", Value: flows}}
}

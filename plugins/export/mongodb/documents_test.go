package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestDocument(t *testing.T) {
	d, err := document([]byte(`{"b":1,"a":{"time":"2026-01-02T03:04:05.678901Z","x":[1.5,"y",null,true,{"first":""}]},"time":"soon","n":18446744073709551615}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := bson.MarshalExtJSON(d, false, false)
	if want := `{"b":1,"a":{"time":{"$date":"2026-01-02T03:04:05.678Z"},"x":[1.5,"y",null,true,{"first":null}]},"time":"soon","n":1.8446744073709552E+19}`; err != nil || string(text) != want {
		t.Errorf("%s, %v\nwant\n%s", text, err, want)
	}
	for _, bad := range []string{``, `[]`, `3`, `{`, `{"a":}`, strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)} {
		if d, err := document([]byte(bad)); err == nil {
			t.Errorf("%.20s: %v", bad, d)
		}
	}
}

func TestCommunityDocument(t *testing.T) {
	e := sdktest.Attack(time.Now(), 1)[0]
	first, err := communityDocument(&e)
	if err != nil || len(first) != 2 || first[0].Value.(bson.ObjectID).Timestamp().Unix() != e.Time.Unix() {
		t.Fatalf("%v, %v", first, err)
	}
	other := sdktest.Attack(e.Time, 2)[0]
	if second, err := communityDocument(&other); err != nil || second[0].Value == first[0].Value {
		t.Errorf("two bans have the id %v, %v", first[0].Value, err)
	}
	six, ended := e, e
	six.Target = netip.MustParsePrefix("2001:db8::1/128")
	ended.Type = sdk.AttackEnded
	for _, e := range append(sdktest.Mitigated(e.Time, 1), six, ended) {
		if d, err := communityDocument(&e); d != nil || err != nil {
			t.Errorf("%s %s: %v, %v", e.Type, e.Target, d, err)
		}
	}
}

// What another try would not mend is told from what it would.
func TestAnswers(t *testing.T) {
	code := func(n int) error { return fmt.Errorf("x: %w", mongo.CommandError{Code: int32(n), Message: "because"}) }
	for _, c := range []struct {
		err     error
		refused bool
	}{
		{code(13), false},
		{code(18), false},
		{code(189), false},
		{code(11600), false},
		{code(10107), false},
		{errors.New("connection refused"), false},
		{code(2), true},
		{code(10334), true},
		{code(121), true},
		{driver.ErrDocumentTooLarge, true},
		{mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 52}}}}, true},
	} {
		if err := explain(c.err); delivery.IsRefused(err) != c.refused {
			t.Errorf("%v: %v, refused %v", c.err, err, !c.refused)
		}
	}
	twice := mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 11000}}, {WriteError: mongo.WriteError{Code: 11000}}}}
	if err := others(twice); err != nil {
		t.Error(err)
	}
	twice.WriteErrors[1].Code = 13
	if err := others(twice); err == nil {
		t.Error("an error is lost")
	}
}

// What is configured is what the driver is told.
func TestOptions(t *testing.T) {
	c := defaults()
	c.URL, c.User, c.Password, c.Mechanism, c.WriteConcern, c.Journal = "mongodb://a,b:1/?replicaSet=rs0", "me", "secret", "plain", "2", true
	o, err := (&database{cfg: c}).options()
	if err != nil {
		t.Fatal(err)
	}
	if w := o.WriteConcern; w.W != 2 || !*w.Journal {
		t.Errorf("%+v", w)
	}
	if a := o.Auth; a.Username != "me" || a.AuthMechanism != "PLAIN" || a.AuthSource != "$external" || *o.ReplicaSet != "rs0" || *o.ServerSelectionTimeout != c.Delivery.Timeout || len(o.Hosts) != 2 {
		t.Errorf("%+v %+v", o, a)
	}
	if o, err := (&database{cfg: defaults()}).options(); err != nil || o.Auth != nil || o.TLSConfig != nil || o.WriteConcern.W != "majority" {
		t.Errorf("%+v, %v", o, err)
	}
}

func FuzzDocument(f *testing.F) {
	e := sdktest.Event()
	text, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"$date":"x","a.b":{"":[{}]},"time":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := document(text)
		if err != nil {
			return
		}
		if _, err := bson.Marshal(d); err != nil && !strings.Contains(err.Error(), "null bytes") {
			t.Errorf("%s: %v", text, err)
		}
	})
}

func BenchmarkRates(b *testing.B) {
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 10_000)
	b.ReportAllocs()
	for b.Loop() {
		docs, err := rateDocuments(&s)
		if err != nil || len(docs) < 20_000 {
			b.Fatal(len(docs), err)
		}
	}
}

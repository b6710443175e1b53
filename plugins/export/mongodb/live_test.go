package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// bed is a FerretDB that a test reads back through the driver's own queries.
type bed struct {
	t      *testing.T
	server *sdktest.Server
	url    string
	client *mongo.Client
}

func newBed(t *testing.T, o *options.ClientOptions, args ...string) *bed {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	program, err := filepath.Abs("../../../.cache/tools/ferretdb")
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", sdktest.FreePort(t))
	b := &bed{t: t, url: "mongodb://" + address}
	if b.client, err = mongo.Connect(options.MergeClientOptions(options.Client().ApplyURI(b.url).SetServerSelectionTimeout(2*time.Second), o)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = b.client.Disconnect(ctx)
	})
	b.server = sdktest.NewServer(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return b.client.Database("admin").RunCommand(ctx, bson.D{{Key: "listDatabases", Value: 1}}).Err()
	}, nil, program, append(args, "-address", address, "-dir", t.TempDir())...)
	return b
}

// find reads documents, in an order.
func (b *bed) find(collection string, filter bson.D, sort string) ([]bson.M, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	cursor, err := b.client.Database("fastnetmon").Collection(collection).Find(ctx, filter, options.Find().SetSort(bson.D{{Key: sort, Value: 1}}))
	if err != nil {
		return nil, err
	}
	var out []bson.M
	return out, cursor.All(ctx, &out)
}

// plain is a document as it comes back: maps, and numbers as they are stored.
func plain(t *testing.T, doc any) bson.M {
	t.Helper()
	text, err := bson.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out bson.M
	if err := bson.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(got, want bson.M) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%v\nwant\n%v", got, want)
	}
	return nil
}

// wanted are events that were sent, and what is to be there of them.
type wanted struct {
	ids         []string
	attacks     map[string]bson.M
	mitigations map[string]bson.M
}

func (w *wanted) send(t *testing.T, h *sdktest.Harness, list []sdk.Event) {
	t.Helper()
	if err := h.Events(list); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		e := &list[i]
		w.ids = append(w.ids, e.Key())
		doc, err := attackDocument(e, defaults().Keep)
		if m := e.Mitigation; m != nil {
			if doc, err = mitigationDocument(m, defaults().Keep); err == nil {
				w.mitigations[m.ID] = plain(t, doc)
			}
		} else {
			w.attacks[e.ID] = plain(t, doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// check waits until each event is there once and in order, and each attack and
// mitigation once, in its newest state.
func (b *bed) check(w *wanted) {
	b.t.Helper()
	sdktest.Until(b.t, "every event is there once and in order", func() error {
		list, err := b.find(events, bson.D{}, "number")
		if err != nil {
			return err
		}
		got := make([]string, len(list))
		for i, doc := range list {
			got[i] = fmt.Sprint(doc["_id"])
		}
		if !slices.Equal(got, w.ids) {
			return fmt.Errorf("%d events, want %d: %v\nwant %v", len(got), len(w.ids), got, w.ids)
		}
		for collection, want := range map[string]map[string]bson.M{attacks: w.attacks, mitigations: w.mitigations} {
			list, err := b.find(collection, bson.D{}, "_id")
			if err != nil {
				return err
			}
			if len(list) != len(want) {
				return fmt.Errorf("%s: %d documents, want %d", collection, len(list), len(want))
			}
			for _, doc := range list {
				if err := same(doc, want[fmt.Sprint(doc["_id"])]); err != nil {
					return fmt.Errorf("%s: %w", collection, err)
				}
			}
		}
		return nil
	})
}

// admin runs a command on the database of the users.
func (b *bed) admin(command bson.D) {
	b.t.Helper()
	if err := b.client.Database("admin").RunCommand(b.t.Context(), command).Err(); err != nil {
		b.t.Fatal(err)
	}
}

// What is written is what queries find. The server is killed, is stopped and
// does not let us in; events of that time are there afterwards, once and in order.
func TestLive(t *testing.T) {
	b := newBed(t, options.Client().SetAuth(options.Credential{Username: "root", Password: "first", AuthMechanism: "SCRAM-SHA-256"}), "-user", "root", "-password", "first")
	user := func(command, password string) bson.D {
		return bson.D{{Key: command, Value: "fastnetmon"}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{}}, {Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}}}
	}
	b.admin(user("createUser", "secret"))
	h := sdktest.New(t, plugin(), fmt.Sprintf("url = %q\nuser = \"fastnetmon\"\npassword = \"secret\"\nmechanism = \"scram-sha-256\"\ndelivery {\n  backoff = \"20ms\"\n  max_backoff = \"100ms\"\n}", b.url))
	h.StateDir = t.TempDir()
	s := sdktest.Snapshot(time.Now(), 100)
	b.checkRates(h, &s)

	w := &wanted{attacks: map[string]bson.M{}, mitigations: map[string]bson.M{}}
	n := 0
	send := func(attacks int) {
		for range attacks {
			w.send(t, h, sdktest.Attack(s.Time, n))
			w.send(t, h, sdktest.Mitigated(s.Time, n))
			n++
		}
	}
	send(5)
	b.check(w)
	b.server.Kill()
	send(20)
	if err := h.Drain(); err != nil { // and the plugin begins anew
		t.Fatal(err)
	}
	send(1)
	b.server.Start()
	b.check(w)

	if err := b.server.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := figure(h, "retried_total:of=events")
	send(5)
	sdktest.Until(t, "events wait", func() error {
		if figure(h, "waiting:of=events") == 0 || os.Getenv("FASTNETMON_SOAK") != "" && figure(h, "retried_total:of=events") == before {
			return errors.New("none does")
		}
		return nil
	})
	if err := b.server.Process().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.check(w)

	b.admin(user("updateUser", "another"))
	b.server.Kill() // who is in stays in
	b.server.Start()
	before = figure(h, "retried_total:of=events")
	send(5)
	sdktest.Until(t, "the password is refused", func() error {
		if figure(h, "retried_total:of=events") < before+2 {
			return errors.New("no try has failed")
		}
		return nil
	})
	if got, err := b.find(events, bson.D{}, "number"); err != nil || len(got) == len(w.ids) {
		t.Fatalf("%d events, %v", len(got), err)
	}
	b.admin(user("updateUser", "secret"))
	b.check(w)
}

// checkRates writes a snapshot and wants each row of it, and none twice when it
// is written again.
func (b *bed) checkRates(h *sdktest.Harness, s *sdk.Snapshot) {
	b.t.Helper()
	docs, err := rateDocuments(s)
	if err != nil {
		b.t.Fatal(err)
	}
	want := map[any]bson.M{}
	for _, doc := range docs {
		p := plain(b.t, doc)
		want[p["_id"]] = p
	}
	for range 2 {
		if err := h.Export(*s); err != nil {
			b.t.Fatal(err)
		}
		sdktest.Until(b.t, "every row is read back", func() error {
			got, err := b.find(rates, bson.D{}, "_id")
			if err != nil {
				return err
			}
			if len(got) != len(want) || len(got) != len(docs) {
				return fmt.Errorf("%d rows, want %d", len(got), len(want))
			}
			for _, doc := range got {
				if err := same(doc, want[doc["_id"]]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	top, err := b.find(rates, bson.D{{Key: "kind", Value: "host"}, {Key: "direction", Value: "incoming"}, {Key: "pps.udp", Value: bson.D{{Key: "$gt", Value: 0}}}}, "pps.total")
	if err != nil || len(top) != 100 {
		b.t.Errorf("%d hosts, %v", len(top), err)
	}
}

// figure is what the harness's plugin says of itself.
func figure(h *sdktest.Harness, name string) float64 {
	for _, m := range h.Health().Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return 0
}

// The original's documents, over TLS; the same events again make none twice.
func TestLiveCommunity(t *testing.T) {
	cert, key := sdktest.Certificate(t, t.TempDir())
	tls := &delivery.TLS{CA: cert}
	conf, err := tls.Config()
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, options.Client().SetTLSConfig(conf), "-cert", cert, "-key", key)
	h := sdktest.New(t, plugin(), fmt.Sprintf("url = %q\nlayout = %q\ntls {\n  ca_file = %q\n}", b.url, delivery.LayoutFastNetMon, cert))
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	list := append(sdktest.Attack(at, 5), sdktest.Mitigated(at, 5)...)
	if err := h.Export(sdktest.Snapshot(at, 10)); err != nil {
		t.Fatal(err)
	}
	if err := h.Events(append(list, sdktest.Attack(at, 6)...)); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	c.URL, c.Layout, c.TLS = b.url, delivery.LayoutFastNetMon, tls
	d := &database{cfg: c}
	sdktest.Until(t, "both documents are there", func() error {
		got, err := b.find(attacks, bson.D{}, "_id")
		if err == nil && len(got) != 2 {
			err = fmt.Errorf("%v", got)
		}
		return err
	})
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Events(t.Context(), delivery.Batch{Events: list, Numbers: make([]uint64, len(list)), Again: true}); err != nil {
		t.Fatal(err)
	}
	got, err := b.find(attacks, bson.D{{Key: "10_1_0_5_information_04_03_26_05:06:07.action", Value: "ban"}}, "_id")
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	doc, _ := got[0]["10_1_0_5_information_04_03_26_05:06:07"].(bson.D)
	details, _ := plain(t, doc)["attack_details"].(bson.D)
	if m := plain(t, details); m["incoming_udp_pps"] != int64(30000) || m["host_group"] == "" || len(got[0]) != 2 {
		t.Errorf("%v", got)
	}
	names, err := b.client.Database("fastnetmon").ListCollectionNames(t.Context(), bson.D{})
	if err != nil || !slices.Equal(names, []string{attacks}) {
		t.Errorf("collections %v, %v", names, err)
	}
}

// Where the server does not remove old documents the plugin does; an older state
// does not take the place of a newer one.
func TestLiveBounds(t *testing.T) {
	b := newBed(t, options.Client())
	c := defaults()
	c.URL = b.url
	d := &database{cfg: c}
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if !d.prune {
		t.Error("FerretDB has learnt to remove old documents")
	}
	write := func(list []sdk.Event, again bool) {
		t.Helper()
		if err := d.Events(t.Context(), delivery.Batch{Events: list, Numbers: []uint64{1, 2, 3}[:len(list)], Again: again}); err != nil {
			t.Fatal(err)
		}
	}
	newer := sdktest.Attack(time.Now(), 1)
	write(newer, false)
	write(newer[:1], true)
	write(newer[:1], false) // told twice, and nobody says so
	if got, err := b.find(attacks, bson.D{}, "_id"); err != nil || len(got) != 1 || got[0]["status"] != "ended" || number(got[0]["seq"]) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	d.pruned = time.Time{}
	write(sdktest.Attack(time.Now().Add(-2*c.Keep), 2), false)
	if got, err := b.find(events, bson.D{}, "number"); err != nil || len(got) != 3 {
		t.Errorf("%d events, %v", len(got), err)
	}
	if got, err := b.find(attacks, bson.D{}, "_id"); err != nil || len(got) != 1 {
		t.Errorf("%d attacks, %v", len(got), err)
	}
}

// Rates stay within their size.
func TestLiveCapped(t *testing.T) {
	b := newBed(t, options.Client(), "-tidy", "2s")
	c := defaults()
	c.URL, c.RatesSize = b.url, 1<<20
	d := &database{cfg: c}
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	at, written := time.Now(), 0
	for i := range 12 {
		s := sdktest.Snapshot(at.Add(time.Duration(i)*time.Second), 100)
		// The server is locked while it cuts the collection.
		sdktest.Until(t, "a snapshot is written", func() error { return d.Snapshot(t.Context(), &s) })
		written += 200
	}
	sdktest.Until(t, "the oldest rates go", func() error {
		got, err := b.find(rates, bson.D{{Key: "kind", Value: "host"}}, "time")
		if err == nil && (len(got) == 0 || len(got) >= written-200) {
			err = fmt.Errorf("%d of %d rows are there", len(got), written)
		}
		return err
	})
}

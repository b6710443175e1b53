package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// The collections of our own layout; the original has the first one.
const (
	attacks     = "attacks"
	events      = "events"
	mitigations = "mitigations"
	rates       = "rates"
)

// keysOf are the fields that each collection is asked by.
var keysOf = map[string][][]string{
	attacks: {{"time"}, {"target"}}, events: {{"number"}, {"id"}}, mitigations: {{"time"}, {"attack"}}, rates: {{"kind", "name", "time"}},
}

// Codes of errors that servers answer with.
const (
	codeUnauthorized   = 13
	codeAuthentication = 18
	codeExists         = 48
	codeOptionsDiffer  = 85
	codeUnsupported    = 115
	codeNotImplemented = 238
)

// refusals are the codes of errors that another try would not mend: they are
// about what was sent.
var refusals = []int{2, 9, 14, 22, 52, 57, 121, 10334, 17280, 17419, 17420}

// parting is how long the servers may take to hear that we go.
const parting = 300 * time.Millisecond

// pruneEvery is how often documents that are too old are removed where the
// servers do not.
const pruneEvery = time.Hour

// database is a MongoDB.
type database struct {
	cfg    config
	log    hclog.Logger
	client *mongo.Client
	db     *mongo.Database
	ready  bool // collections and indexes have been made
	prune  bool // the servers do not remove old documents
	pruned time.Time
	warned bool
}

// Connect connects and makes the collections and indexes that are missing.
func (d *database) Connect(ctx context.Context) error {
	if err := d.Close(); err != nil {
		return err
	}
	o, err := d.options()
	if err != nil {
		return err
	}
	if d.client, err = mongo.Connect(o); err != nil {
		return err
	}
	d.db = d.client.Database(d.cfg.Database)
	if err := d.client.Ping(ctx, nil); err != nil {
		return explain(err)
	}
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	return explain(d.prepare(ctx))
}

func (d *database) options() (*options.ClientOptions, error) {
	o := options.Client().ApplyURI(d.cfg.URL)
	tls, err := d.cfg.TLS.Config()
	if err != nil {
		return nil, err
	}
	if tls != nil {
		o.SetTLSConfig(tls)
	}
	if d.cfg.User != "" || d.cfg.Mechanism == "x509" {
		c := options.Credential{AuthMechanism: mechanisms[d.cfg.Mechanism], AuthSource: d.cfg.AuthDatabase, Username: d.cfg.User, Password: d.cfg.Password, PasswordSet: d.cfg.Password != ""}
		if d.cfg.Mechanism == "x509" || d.cfg.Mechanism == "plain" {
			c.AuthSource = "$external"
		}
		o.SetAuth(c)
	}
	t := d.cfg.Delivery.Timeout
	o.SetAppName("fastnetmon").SetWriteConcern(d.cfg.concern()).SetMaxPoolSize(2)
	o.SetConnectTimeout(t).SetServerSelectionTimeout(t)
	o.SetRetryWrites(false).SetRetryReads(false) // the queue does that
	return o, o.Validate()
}

// Close ends the connections.
func (d *database) Close() error {
	if d.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	err := d.client.Disconnect(ctx)
	d.client, d.db = nil, nil
	if errors.Is(err, context.DeadlineExceeded) { // they do not answer: what was open is closed all the same
		return nil
	}
	return err
}

// prepare makes the collection of rates, which holds so many bytes, and the
// indexes, unless all is as it was left.
func (d *database) prepare(ctx context.Context) error {
	if d.ready {
		there, err := d.db.ListCollectionNames(ctx, bson.D{{Key: "name", Value: bson.D{{Key: "$in", Value: bson.A{attacks, events, mitigations, rates}}}}})
		if err != nil {
			return err
		}
		if len(there) == len(keysOf) || !d.cfg.Rates && len(there) == len(keysOf)-1 {
			return nil
		}
		d.ready = false
	}
	if d.cfg.Rates {
		o := options.CreateCollection().SetCapped(true).SetSizeInBytes(int64(d.cfg.RatesSize))
		if err := d.db.CreateCollection(ctx, rates, o); err != nil && !is(err, codeExists) {
			return fmt.Errorf("the collection %s cannot be made: %w", rates, err)
		}
		if err := d.index(ctx, rates, keysOf[rates]); err != nil {
			return err
		}
	}
	for name, keys := range keysOf {
		if name == rates {
			continue
		}
		if err := d.index(ctx, name, keys); err != nil {
			return err
		}
		err := d.index(ctx, name, nil, mongo.IndexModel{Keys: bson.D{{Key: until, Value: 1}}, Options: options.Index().SetExpireAfterSeconds(0)})
		if is(err, codeNotImplemented, codeUnsupported) {
			d.prune, err = true, nil
		}
		if err != nil {
			return err
		}
	}
	d.ready = true
	if d.prune && !d.warned && d.log != nil {
		d.warned = true
		d.log.Info("this server does not remove old documents by itself: they are removed from here, once an hour")
	}
	return nil
}

// index makes indexes on fields, and others; one that is there stays as it is.
func (d *database) index(ctx context.Context, collection string, keys [][]string, more ...mongo.IndexModel) error {
	for _, fields := range keys {
		by := bson.D{}
		for _, f := range fields {
			by = append(by, bson.E{Key: f, Value: 1})
		}
		more = append(more, mongo.IndexModel{Keys: by})
	}
	for _, m := range more { // one by one: FerretDB does not answer where some of several are there
		if _, err := d.db.Collection(collection).Indexes().CreateOne(ctx, m); err != nil && !is(err, codeOptionsDiffer) {
			return fmt.Errorf("the collection %s cannot be given an index: %w", collection, err)
		}
	}
	return nil
}

// Snapshot writes the rates; the original has none.
func (d *database) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon || !d.cfg.Rates {
		return nil
	}
	docs, err := rateDocuments(s)
	if err != nil {
		return delivery.Refused(err)
	}
	_, err = d.db.Collection(rates).InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	return explain(others(err))
}

// Events writes events, and the attacks and mitigations that they are about.
func (d *database) Events(ctx context.Context, b delivery.Batch) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return explain(d.community(ctx, b.Events))
	}
	if err := d.native(ctx, &b); err != nil {
		return explain(err)
	}
	d.removeOld(ctx)
	return nil
}

// community writes bans, each once: what is there already has the same id.
func (d *database) community(ctx context.Context, list []sdk.Event) error {
	for i := range list {
		doc, err := communityDocument(&list[i])
		if err != nil {
			return delivery.Refused(err)
		}
		if doc == nil {
			continue
		}
		if _, err := d.db.Collection(attacks).InsertOne(ctx, doc); err != nil && !mongo.IsDuplicateKeyError(err) {
			return err
		}
	}
	return nil
}

// native writes a batch: first the events, then what has become of their
// attacks and mitigations, in one step each.
func (d *database) native(ctx context.Context, b *delivery.Batch) error {
	w := newWrites(d.cfg.Keep)
	for i := range b.Events {
		if err := w.add(&b.Events[i], b.Numbers[i]); err != nil {
			return delivery.Refused(err)
		}
	}
	err := d.insert(ctx, w, b.Again)
	if mongo.IsDuplicateKeyError(err) && !b.Again { // told a second time
		err = d.insert(ctx, w, true)
	}
	if err != nil {
		return err
	}
	if err := d.replace(ctx, attacks, "seq", w.attacks); err != nil {
		return err
	}
	return d.replace(ctx, mitigations, "time", w.mitigations)
}

// insert writes events in order; again leaves out those that are there.
func (d *database) insert(ctx context.Context, w *writes, again bool) error {
	c, docs := d.db.Collection(events), w.events
	if again {
		ids := make([]any, len(docs))
		for i, doc := range docs {
			ids[i] = doc.(bson.D)[0].Value
		}
		there, err := d.there(ctx, events, "_id", ids)
		if err != nil {
			return err
		}
		docs = slices.DeleteFunc(slices.Clone(docs), func(doc any) bool { return there[doc.(bson.D)[0].Value] != nil })
	}
	if len(docs) == 0 {
		return nil
	}
	_, err := c.InsertMany(ctx, docs)
	return err
}

// replace writes the newest state of some attacks or mitigations, but none that
// is older than what is there, by a field that grows.
func (d *database) replace(ctx context.Context, collection, grows string, states *states) error {
	if len(states.ids) == 0 {
		return nil
	}
	there, err := d.there(ctx, collection, grows, states.ids)
	if err != nil {
		return err
	}
	var models []mongo.WriteModel
	for _, id := range states.ids {
		s := states.newest[id]
		if had, ok := there[id]; ok && number(had) > s.version {
			continue
		}
		models = append(models, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(s.doc).SetUpsert(true))
	}
	if len(models) == 0 {
		return nil
	}
	_, err = d.db.Collection(collection).BulkWrite(ctx, models)
	return err
}

// there is a field of those of some documents that are there, by id.
func (d *database) there(ctx context.Context, collection, field string, ids []any) (map[any]any, error) {
	cursor, err := d.db.Collection(collection).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find().SetProjection(bson.D{{Key: field, Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []bson.M
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, err
	}
	out := map[any]any{}
	for _, doc := range docs {
		out[doc["_id"]] = doc[field]
	}
	return out, nil
}

// removeOld removes old documents where the servers do not, now and then. That
// it fails is no reason to write events again.
func (d *database) removeOld(ctx context.Context) {
	if !d.prune || time.Since(d.pruned) < pruneEvery {
		return
	}
	d.pruned = time.Now()
	for _, name := range []string{attacks, events, mitigations} {
		_, err := d.db.Collection(name).DeleteMany(ctx, bson.D{{Key: until, Value: bson.D{{Key: "$lt", Value: bson.NewDateTimeFromTime(time.Now())}}}})
		if err != nil && d.log != nil {
			d.log.Warn("old documents are not removed: the next try is in an hour", "collection", name, "error", err)
		}
	}
}

// is tells whether an error is a server's, with one of these codes.
func is(err error, codes ...int) bool {
	var s mongo.ServerError
	if !errors.As(err, &s) {
		return false
	}
	return slices.ContainsFunc(codes, s.HasErrorCode)
}

// others are the errors of an unordered write that are not about documents
// which are there already.
func others(err error) error {
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil || len(bulk.WriteErrors) == 0 {
		return err
	}
	for _, w := range bulk.WriteErrors {
		if !mongo.IsDuplicateKeyError(w.WriteError) {
			return err
		}
	}
	return nil
}

// explain marks what another try would not mend, and says what to look at.
func explain(err error) error {
	switch {
	case err == nil || delivery.IsRefused(err):
		return err
	case errors.Is(err, driver.ErrDocumentTooLarge), is(err, refusals...):
		return delivery.Refused(fmt.Errorf("MongoDB refuses what it was sent: %w", err))
	case is(err, codeUnauthorized, codeAuthentication):
		return fmt.Errorf("MongoDB does not let us write (user, password, auth_database, and the user's roles): %w", err)
	}
	return err
}

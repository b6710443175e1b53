package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// mechanism is how the brokers are told who we are; nil where they do not ask.
func mechanism(c *config) (sasl.Mechanism, error) {
	var m sasl.Mechanism
	switch c.Mechanism {
	case "plain":
		m = plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()
	case "scram-sha-256":
		m = scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()
	case "scram-sha-512":
		m = scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()
	default:
		return nil, fmt.Errorf("%q is none of plain, scram-sha-256 and scram-sha-512", c.Mechanism)
	}
	if c.User == "" {
		return nil, nil
	}
	return m, nil
}

// newClient makes a client of the brokers. It connects to nobody yet.
func newClient(c *config, more ...kgo.Opt) (*kgo.Client, error) {
	tls, err := c.TLS.Config()
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID("fastnetmon"), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codecs[c.Compression]),
		kgo.DialTimeout(c.Delivery.Timeout),
	}
	if tls != nil {
		opts = append(opts, kgo.DialTLSConfig(tls))
	}
	if m, err := mechanism(c); err != nil {
		return nil, err
	} else if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return kgo.NewClient(append(opts, more...)...)
}

// producer is a Kafka.
type producer struct {
	cfg    config
	client *kgo.Client
}

// Connect makes a client and asks whether a broker answers.
func (p *producer) Connect(ctx context.Context) error {
	_ = p.Close()
	var err error
	if p.client, err = newClient(&p.cfg, kgo.RequiredAcks(kgo.AllISRAcks())); err != nil {
		return err
	}
	return p.client.Ping(ctx)
}

// Close ends the connections.
func (p *producer) Close() error {
	if p.client != nil {
		p.client.Close()
		p.client = nil
	}
	return nil
}

// produce sends messages and waits until the brokers have all of them, or for
// ctx. The client's own limit of time is of no use: it counts from a message's
// timestamp, and events may have waited for long.
func (p *producer) produce(ctx context.Context, records []*kgo.Record) error {
	acked := make(chan error, len(records))
	for _, r := range records {
		p.client.Produce(ctx, r, func(_ *kgo.Record, err error) { acked <- err })
	}
	var err error
	for range records {
		select {
		case one := <-acked:
			if err == nil {
				err = one
			}
		case <-ctx.Done(): // Connect drops the client, with what it still has
			return ctx.Err()
		}
	}
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.RecordListTooLarge) {
		return delivery.Refused(err)
	}
	return err
}

// Snapshot sends a message for each row of a snapshot.
func (p *producer) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if p.cfg.SnapshotsTopic == "" {
		return nil
	}
	records, err := messages(&p.cfg, s)
	if err != nil {
		return delivery.Refused(err)
	}
	return p.produce(ctx, records)
}

// encodeEvent is an event as the configured format has it.
func (c *config) encodeEvent(e *sdk.Event) ([]byte, error) {
	if c.Format == formatProtobuf {
		return eventProtobuf(e)
	}
	return json.Marshal(e)
}

// Events sends a message for each event. The key is the attack's id, so that
// its events stay in order in their partition.
func (p *producer) Events(ctx context.Context, b delivery.Batch) error {
	if p.cfg.EventsTopic == "" {
		return nil
	}
	var records []*kgo.Record
	for i := range b.Events {
		e := &b.Events[i]
		value, err := p.cfg.encodeEvent(e)
		if err != nil {
			return delivery.Refused(err)
		}
		records = append(records, &kgo.Record{
			Topic: p.cfg.EventsTopic, Key: []byte(e.ID), Value: value, Timestamp: e.Time,
			Headers: []kgo.RecordHeader{{Key: "event_id", Value: []byte(e.Key())}, {Key: "event", Value: []byte(e.Type)}},
		})
	}
	return p.produce(ctx, records)
}

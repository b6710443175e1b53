package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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

// producer is a Kafka.
type producer struct {
	cfg    config
	client *kgo.Client
}

// Connect makes a client and asks whether a broker answers.
func (p *producer) Connect(ctx context.Context) error {
	_ = p.Close()
	tls, err := p.cfg.TLS.Config()
	if err != nil {
		return err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(p.cfg.Brokers...), kgo.ClientID("fastnetmon"), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codecs[p.cfg.Compression]),
		kgo.RecordDeliveryTimeout(p.cfg.Delivery.Timeout), kgo.DialTimeout(p.cfg.Delivery.Timeout), kgo.RequiredAcks(kgo.AllISRAcks()),
	}
	if tls != nil {
		opts = append(opts, kgo.DialTLSConfig(tls))
	}
	if m, err := mechanism(&p.cfg); err != nil {
		return err
	} else if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	if p.client, err = kgo.NewClient(opts...); err != nil {
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

// produce sends messages and waits until the brokers have all of them.
func (p *producer) produce(ctx context.Context, records []*kgo.Record) error {
	err := p.client.ProduceSync(ctx, records...).FirstErr()
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
	records, err := messages(p.cfg.SnapshotsTopic, s)
	if err != nil {
		return delivery.Refused(err)
	}
	return p.produce(ctx, records)
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
		value, err := json.Marshal(e)
		if err != nil {
			return delivery.Refused(err)
		}
		records = append(records, &kgo.Record{
			Topic: p.cfg.EventsTopic, Key: []byte(e.ID), Value: value, Timestamp: e.Time,
			Headers: []kgo.RecordHeader{{Key: "event_id", Value: []byte(delivery.EventID(e))}, {Key: "event", Value: []byte(e.Type)}},
		})
	}
	return p.produce(ctx, records)
}

// row is one message of a snapshot: only what it is about is there.
type row struct {
	Kind      string             `json:"kind"`
	Time      float64            `json:"time"`
	Name      string             `json:"name,omitempty"`
	Family    int                `json:"family,omitempty"`
	Direction string             `json:"direction,omitempty"`
	HostGroup string             `json:"hostgroup,omitempty"`
	Network   string             `json:"network,omitempty"`
	PPS       map[string]float64 `json:"pps,omitempty"`
	BPS       map[string]float64 `json:"bps,omitempty"`
	Flows     *float64           `json:"flows,omitempty"`
	Received  *uint64            `json:"received,omitempty"`
	Used      *uint64            `json:"used,omitempty"`
	InFlight  *uint64            `json:"in_flight,omitempty"`
	Dropped   map[string]uint64  `json:"dropped,omitempty"`
	Value     *float64           `json:"value,omitempty"`
}

// rated is a row of rates.
func rated(r row, counters []sdk.CounterRate, flows float64) row {
	r.PPS, r.BPS, r.Flows = map[string]float64{}, map[string]float64{}, &flows
	for _, c := range counters {
		r.PPS[c.Counter], r.BPS[c.Counter] = c.PPS, c.BPS
	}
	return r
}

func rowsOf(s *sdk.Snapshot) (out []row) {
	for i := range s.Totals {
		t := &s.Totals[i]
		out = append(out, rated(row{Kind: "total", Name: "ipv" + strconv.Itoa(t.Family), Family: t.Family, Direction: t.Direction}, t.Counters, t.Flows))
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		out = append(out, rated(row{Kind: "network", Name: r.Name, Direction: r.Direction}, r.Counters, r.Flows))
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		out = append(out, rated(row{Kind: "hostgroup", Name: r.Name, Direction: r.Direction}, r.Counters, r.Flows))
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		out = append(out, rated(row{Kind: "host", Name: sdk.TargetText(h.Host), Direction: h.Direction, HostGroup: h.Group, Network: h.Network}, h.Counters, h.Flows))
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		out = append(out, row{Kind: "input", Name: l.Input, Received: &l.Received, Used: &l.Used, InFlight: &l.InFlight, Dropped: l.Dropped})
	}
	for i := range s.System {
		out = append(out, row{Kind: "system", Name: s.System[i].Name, Value: &s.System[i].Value})
	}
	return out
}

func messages(topic string, s *sdk.Snapshot) ([]*kgo.Record, error) {
	all := rowsOf(s)
	out := make([]*kgo.Record, 0, len(all))
	for i := range all {
		all[i].Time = float64(s.Time.UnixMilli()) / 1000
		value, err := json.Marshal(&all[i])
		if err != nil {
			return nil, err
		}
		out = append(out, &kgo.Record{Topic: topic, Key: []byte(all[i].Kind + ":" + all[i].Name), Value: value, Timestamp: s.Time})
	}
	return out, nil
}

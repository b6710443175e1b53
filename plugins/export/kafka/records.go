package main

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// keys give the address whose messages go to one partition, by the name of the
// option.
var keys = map[string]func(r *traffic.Record, exporter netip.Addr) []byte{
	"none":        func(*traffic.Record, netip.Addr) []byte { return nil },
	"source":      func(r *traffic.Record, _ netip.Addr) []byte { return octets(&r.Src) },
	"destination": func(r *traffic.Record, _ netip.Addr) []byte { return octets(&r.Dst) },
	"exporter":    func(_ *traffic.Record, exporter netip.Addr) []byte { return exporter.AsSlice() },
}

// overhead is about what the client keeps of a message beside its value, in
// bytes.
const overhead = 256

// stream produces every record that is told of. It holds no more messages than
// the configured memory has room for: while they are under way it takes no more,
// and what the capture goes on with meanwhile is lost to the tap, which the SDK
// counts.
type stream struct {
	cfg    config
	client *kgo.Client

	waiting   atomic.Int64 // bytes of messages under way
	messages  atomic.Int64
	room      chan struct{}
	delivered atomic.Uint64
	failed    atomic.Uint64
	filtered  atomic.Uint64
	failure   atomic.Pointer[failure]
}

// failure is why a message was not delivered, and when that was found out.
type failure struct {
	err error
	at  time.Time
}

func newStream(c config) *stream { return &stream{cfg: c, room: make(chan struct{}, 1)} }

// start makes the client; the brokers need not be there.
func (s *stream) start() (err error) {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(s.cfg.Records.Topic), kgo.RequiredAcks(acks[s.cfg.Records.Acks]),
		// The client's own limits are never met: produce waits before them, and
		// heeds the context of its caller.
		kgo.MaxBufferedRecords(int(s.cfg.Records.Memory)/overhead + 1<<20),
	}
	if s.cfg.Records.Acks != "all" {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(4))
	}
	s.client, err = newClient(&s.cfg, opts...)
	return err
}

// close gives what is under way a moment.
func (s *stream) close(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	var err error
	if s.client.Flush(soon) != nil { // what is left is counted as failed
		last, cancel := context.WithTimeout(ctx, closeTime)
		defer cancel()
		err = s.client.AbortBufferedRecords(last)
	}
	s.client.Close()
	return err
}

// closeTime is how long the brokers may take for what is under way.
const closeTime = time.Second

// wait returns when there is room for more messages.
func (s *stream) wait(ctx context.Context) error {
	for s.waiting.Load() >= int64(s.cfg.Records.Memory) {
		select {
		case <-s.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.signal() // others may wait as well
	return nil
}

func (s *stream) signal() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// done is called by the client for every message.
func (s *stream) done(r *kgo.Record, err error) {
	if err == nil {
		s.delivered.Add(1)
	} else {
		s.failed.Add(1)
		s.failure.Store(&failure{err, time.Now()})
	}
	s.messages.Add(-1)
	limit := int64(s.cfg.Records.Memory)
	if now := s.waiting.Add(-size(r)); now < limit && now+size(r) >= limit {
		s.signal()
	}
}

func size(r *kgo.Record) int64 { return int64(len(r.Value)) + overhead }

// unwellFor is how long a message that was not delivered is shown in the state.
const unwellFor = 10 * time.Second

func (s *stream) health() error {
	if f := s.failure.Load(); f != nil && time.Since(f.at) < unwellFor {
		return errors.New("records cannot be delivered: " + f.err.Error())
	}
	return nil
}

func (s *stream) metrics() []sdk.Metric {
	return []sdk.Metric{
		{Name: "delivered_total:of=records", Value: float64(s.delivered.Load())},
		{Name: "dropped_total:of=records,reason=failed", Value: float64(s.failed.Load())},
		{Name: "dropped_total:of=records,reason=filtered", Value: float64(s.filtered.Load())},
		{Name: "waiting:of=records", Value: float64(s.messages.Load())},
	}
}

// tap produces the records of one ring.
type tap struct {
	*stream
	address func(index uint32) netip.Addr
	encode  encoder
	key     func(r *traffic.Record, exporter netip.Addr) []byte
	room    int // that the values of a batch took at most
}

func (s *stream) tap(address func(index uint32) netip.Addr) *tap {
	return &tap{stream: s, address: address, encode: newEncoder(s.cfg.Format, s.cfg.Records.Layout), key: keys[s.cfg.Records.Key]}
}

// Tap produces a message for each record that filters have let pass. It
// returns before the brokers have them.
func (t *tap) Tap(ctx context.Context, batch []traffic.Record) error {
	if err := t.wait(ctx); err != nil {
		return err
	}
	// One piece of memory for the values of a batch, which the client keeps.
	values := make([]byte, 0, t.room+t.room/8)
	messages := make([]kgo.Record, len(batch))
	now := time.Now()
	for i := range batch {
		r := &batch[i]
		if r.Verdict == traffic.VerdictDrop {
			t.filtered.Add(1)
			continue
		}
		var exporter netip.Addr
		if r.Exporter != 0 {
			exporter = t.address(r.Exporter)
		}
		at := now
		if r.Time != 0 {
			at = time.Unix(0, r.Time)
		}
		from := len(values)
		values = t.encode(values, r, at, exporter)
		m := &messages[i]
		m.Timestamp, m.Value = at, values[from:len(values):len(values)]
		if key := t.key(r, exporter); key != nil {
			m.Key = append(m.Key, key...) // the batch is used again
		}
		t.messages.Add(1)
		t.waiting.Add(size(m))
		t.client.Produce(context.Background(), m, t.done)
	}
	t.room = max(t.room, len(values))
	return nil
}

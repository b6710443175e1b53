package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// newBroker starts a broker in memory and returns it and its address.
func newBroker(t testing.TB, args ...string) (*sdktest.Server, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a broker")
	}
	return stores.NewKafka(t, args...)
}

// consume reads a topic from its beginning until there are n messages.
func consume(t *testing.T, broker, topic string, n int, more ...kgo.Opt) (out []*kgo.Record) {
	t.Helper()
	opts := append(more, kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(out) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s has %d messages, want %d", topic, len(out), n)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

// distinct reads a topic of events until there are n different ones, and returns
// the first of each.
func distinct(t *testing.T, broker, topic string, n int) (out []*kgo.Record) {
	t.Helper()
	for read := n; len(out) < n; read += n - len(out) {
		seen := map[string]bool{}
		out = slices.DeleteFunc(consume(t, broker, topic, read), func(r *kgo.Record) bool {
			id := string(r.Headers[0].Value)
			defer func() { seen[id] = true }()
			return seen[id]
		})
	}
	return out
}

// What is produced is what a consumer reads; events that happened while the
// broker was away are there afterwards, in order.
func TestLive(t *testing.T) {
	server, broker := newBroker(t, "-dir", t.TempDir())
	h := sdktest.New(t, plugin(), fmt.Sprintf("brokers = [%q]\ndelivery {\n  timeout = \"2s\"\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", broker))
	h.StateDir = t.TempDir()
	s := sdktest.Snapshot(time.Now(), 500)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	want, err := messages(&c, &s)
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[string]int{}
	for _, r := range want {
		byKey[string(r.Key)+string(r.Value)]++
	}
	for _, r := range consume(t, broker, "fastnetmon-snapshots", len(want)) {
		if byKey[string(r.Key)+string(r.Value)]--; byKey[string(r.Key)+string(r.Value)] < 0 {
			t.Fatalf("not produced, or twice: %s %s", r.Key, r.Value)
		}
		if !json.Valid(r.Value) {
			t.Fatalf("%s", r.Value)
		}
	}

	wanted := map[string][]string{} // by attack
	n := 0
	send := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			events := sdktest.Attack(s.Time, i)
			if err := h.Events(events); err != nil {
				t.Fatal(err)
			}
			for k := range events {
				wanted[events[k].ID] = append(wanted[events[k].ID], events[k].Key())
				n++
			}
		}
	}
	send(0, 5)
	consume(t, broker, "fastnetmon-events", n)
	if err := server.Process().Signal(syscall.SIGTERM); err != nil { // killed, this broker would forget its topics
		t.Fatal(err)
	}
	server.Wait()
	send(5, 30)
	server.Start()
	consume(t, broker, "fastnetmon-events", n)
	// Stopped (SIGSTOP) it may take what it answers too late: that comes again.
	if err := server.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tried := h.Figure("retried_total:of=events")
	send(30, 40)
	s.Time = s.Time.Add(-time.Hour) // an event that has waited for long is no worse
	send(40, 45)
	sdktest.Until(t, "a write fails", func() error {
		if h.Figure("retried_total:of=events") == tried {
			return fmt.Errorf("none has")
		}
		return nil
	})
	if h.Figure("waiting:of=events") == 0 {
		t.Error("a stopped broker has acknowledged events")
	}
	if err := server.Process().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	sdktest.Until(t, "all is delivered", func() error {
		if w := h.Figure("waiting:of=events"); w != 0 {
			return fmt.Errorf("%v wait", w)
		}
		return nil
	})
	got := map[string][]string{}
	for _, r := range distinct(t, broker, "fastnetmon-events", n) {
		if !bytes.Contains(r.Value, r.Key) {
			t.Errorf("%s: %s", r.Key, r.Value)
		}
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Headers[0].Value))
	}
	for id, events := range wanted {
		if !slices.Equal(got[id], events) {
			t.Errorf("%s: %v, want %v", id, got[id], events)
		}
	}
}

// started is a stream of records that works.
func started(t testing.TB, c config) *stream {
	t.Helper()
	s := newStream(c)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// streaming is a configuration that asks for records.
func streaming(broker, format, layout string) config {
	c := defaults()
	c.Brokers, c.Format, c.Records = []string{broker}, format, &records{}
	c.Records.SetDefaults()
	c.Records.Layout = layout
	return c
}

// Every record that filters let pass is a message, and says what it said, in
// each format, layout and way to acknowledge.
func TestLiveRecords(t *testing.T) {
	_, broker := newBroker(t, "-topics", "records-0,records-1,records-2,records-3")
	list := someRecords(5000)
	for i := range list {
		if i%10 == 9 {
			list[i].Verdict = traffic.VerdictDrop
		}
	}
	for i, x := range []struct{ format, layout, key, acks string }{
		{formatProtobuf, delivery.LayoutNative, "none", "leader"},
		{formatProtobuf, delivery.LayoutFastNetMon, "source", "none"},
		{formatJSON, delivery.LayoutNative, "destination", "all"},
		{formatJSON, delivery.LayoutFastNetMon, "exporter", "leader"},
	} {
		t.Run(x.format+" "+x.layout, func(t *testing.T) {
			c := streaming(broker, x.format, x.layout)
			c.Records.Topic, c.Records.Key, c.Records.Acks = fmt.Sprint("records-", i), x.key, x.acks
			s := started(t, c)
			tap := s.tap(teller)
			want := map[string]int{}
			n := 0
			for batch := range slices.Chunk(slices.Clone(list), 1024) {
				for i := range batch {
					r := &batch[i]
					if r.Verdict == traffic.VerdictDrop {
						continue
					}
					n++
					value := newEncoder(x.format, x.layout)(nil, r, time.Unix(0, r.Time), teller(r.Exporter))
					switch {
					case x.format == formatJSON:
					case x.layout == delivery.LayoutNative:
						value = []byte(canonical(t, sent(r)))
					default:
						value = []byte(canonical(t, sentCommunity(r)))
					}
					want[string(keys[x.key](r, teller(r.Exporter)))+" "+string(value)]++
				}
				if err := tap.Tap(t.Context(), batch); err != nil {
					t.Fatal(err)
				}
				clear(batch) // the SDK uses it again
			}
			partitions := map[string]int32{}
			for _, r := range consume(t, broker, c.Records.Topic, n) {
				name := string(r.Key) + " " + decoded(t, x.format, x.layout, r.Value)
				if want[name]--; want[name] < 0 {
					t.Fatalf("not produced, or twice: %q", name)
				}
				if x.format == formatJSON && !json.Valid(r.Value) {
					t.Fatalf("%s", r.Value)
				}
				if p, ok := partitions[string(r.Key)]; ok && p != r.Partition && len(r.Key) > 0 {
					t.Fatalf("messages of key %x are in partitions %d and %d", r.Key, p, r.Partition)
				}
				partitions[string(r.Key)] = r.Partition
			}
			if d, f := s.delivered.Load(), s.filtered.Load(); f != 500 || d > uint64(n) {
				t.Errorf("%d delivered, %d filtered", d, f)
			}
		})
	}
}

// A broker that is stopped (SIGSTOP) holds the stream up, but keeps it within its
// memory; once it goes on, what waited is there, and all that was taken is
// accounted for.
func TestLiveStopped(t *testing.T) {
	server, broker := newBroker(t)
	c := streaming(broker, formatProtobuf, delivery.LayoutNative)
	c.Records.Memory, c.Records.Acks = 1<<20, "all"
	s := started(t, c)
	list, tap := someRecords(1000), s.tap(teller)
	if err := tap.Tap(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	consume(t, broker, c.Records.Topic, len(list))
	if err := server.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	given := len(list)
	for s.waiting.Load() < 1<<20 {
		if err := tap.Tap(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		given += len(list)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tap.Tap(ctx, list); err == nil {
		t.Error("more is taken than there is memory for")
	}
	if err := server.Process().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	consume(t, broker, c.Records.Topic, given)
	sdktest.Until(t, "all is acknowledged", func() error {
		if d, f := s.delivered.Load(), s.failed.Load(); d != uint64(given) || f != 0 {
			return fmt.Errorf("%d delivered and %d failed of %d", d, f, given)
		}
		return nil
	})
}

// TLS and SASL, with events of protobuf: right and wrong ones.
func TestLiveSecured(t *testing.T) {
	dir := t.TempDir()
	cert, key := sdktest.Certificate(t, dir)
	_, broker := newBroker(t, "-user", "fnm", "-password", "secret", "-cert", cert, "-key", key)
	body := func(password, more string) string {
		return fmt.Sprintf("brokers = [%q]\nformat = \"protobuf\"\nuser = \"fnm\"\npassword = %q\nmechanism = \"scram-sha-256\"\n%s\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n  timeout = \"2s\"\n}", broker, password, more)
	}
	tls := fmt.Sprintf("tls {\n  ca_file = %q\n}", cert)
	events := sdktest.Attack(time.Now(), 1)
	for _, wrong := range []string{body("other", tls), body("secret", ""), body("secret", "tls {\n}")} {
		h := sdktest.New(t, plugin(), wrong)
		if err := h.Events(events); err != nil {
			t.Fatal(err)
		}
		sdktest.Until(t, "it fails", func() error {
			if h.Figure("retried_total:of=events") == 0 {
				return fmt.Errorf("nothing was tried again")
			}
			return nil
		})
		h.Close()
	}
	h := sdktest.New(t, plugin(), body("secret", tls))
	if err := h.Events(events); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	c.Format, c.User, c.Password, c.Mechanism, c.TLS = formatProtobuf, "fnm", "secret", "scram-sha-256", &delivery.TLS{CA: cert}
	m, err := mechanism(&c)
	if err != nil {
		t.Fatal(err)
	}
	secure, err := c.TLS.Config()
	if err != nil {
		t.Fatal(err)
	}
	got := consume(t, broker, c.EventsTopic, len(events), kgo.SASL(m), kgo.DialTLSConfig(secure))
	for i := range events {
		want, err := c.encodeEvent(&events[i])
		if err != nil || !bytes.Equal(got[i].Value, want) || !strings.HasPrefix(string(got[i].Headers[0].Value), events[i].ID) {
			t.Errorf("%x, want %x (%v)", got[i].Value, want, err)
		}
	}
	if len(got) != len(events) {
		t.Errorf("%d messages, want %d", len(got), len(events))
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// consume reads a topic from its beginning until there are n messages.
func consume(t *testing.T, broker, topic string, n int) (out []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

// What is produced is what a consumer reads; events that happened while the
// broker was away are there afterwards, in order.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker")
	}
	program, err := filepath.Abs("../../../.cache/tools/kafka-fake")
	if err != nil {
		t.Fatal(err)
	}
	port, dir := sdktest.FreePort(t), t.TempDir()
	broker := fmt.Sprintf("127.0.0.1:%d", port)
	server := sdktest.NewServer(t, sdktest.Answers(port), nil, program, "-port", fmt.Sprint(port), "-dir", dir)
	h := sdktest.New(t, plugin(), fmt.Sprintf("brokers = [%q]\ndelivery {\n  timeout = \"5s\"\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", broker))
	h.StateDir = t.TempDir()
	s := sdktest.Snapshot(time.Now(), 500)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	want, err := messages("fastnetmon-snapshots", &s)
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
				wanted[events[k].ID] = append(wanted[events[k].ID], delivery.EventID(&events[k]))
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
	got := map[string][]string{}
	for _, r := range consume(t, broker, "fastnetmon-events", n) {
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

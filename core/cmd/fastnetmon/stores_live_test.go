package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// shelf is one store of each kind.
type shelf struct {
	t          *testing.T
	redis      *stores.Redis
	influx     *stores.InfluxDB
	graphite   *stores.Graphite
	clickhouse *stores.ClickHouse
	victoria   string // URL
	prometheus string // URL
	kafka      string // address
	mongodb    string // address
	scraped    int    // port that the export for Prometheus listens on
	told       string // path of the lines that export.file writes
}

// newShelf starts all of them side by side.
func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	s := &shelf{t: t, scraped: sdktest.FreePort(t), told: filepath.Join(dir, "told.jsonl")}
	socket := filepath.Join(dir, "redis")
	var starts sync.WaitGroup
	for _, start := range []func(){
		func() {
			s.redis = stores.NewRedis(t, []string{"--port", "0", "--unixsocket", socket}, []string{"-s", socket})
		},
		func() { s.influx = stores.NewInfluxDB(t) },
		func() { s.graphite = stores.NewGraphite(t) },
		func() { s.clickhouse = stores.NewClickHouse(t) },
		func() { _, s.victoria = stores.NewVictoriaMetrics(t) },
		func() { _, s.prometheus = stores.NewPrometheus(t, fmt.Sprintf("127.0.0.1:%d", s.scraped)) },
		func() { _, s.kafka = stores.NewKafka(t) },
		func() { _, s.mongodb = stores.NewFerretDB(t) },
	} {
		starts.Go(start) // one that fails ends its own goroutine only
	}
	starts.Wait()
	switch {
	case t.Failed():
		t.FailNow()
	case t.Skipped():
		t.SkipNow()
	}
	return s
}

// blocks are the exports to all of them, in both layouts where there are two of
// snapshots and events, and their names.
func (s *shelf) blocks(dir string) (text string, names []string) {
	var b strings.Builder
	add := func(kind, instance, attributes string) {
		fmt.Fprintf(&b, "export %q %q {\n%s\n  process {\n    period = \"250ms\"\n  }\n}\n", kind, instance, attributes)
		names = append(names, "export."+kind+"."+instance)
	}
	add("file", "told", fmt.Sprintf("  path = %q\n  snapshots = false", s.told))
	add("prometheus", "native", fmt.Sprintf("  listen = \"127.0.0.1:%d\"", s.scraped))
	add("kafka", "native", fmt.Sprintf("  brokers = [%q]", s.kafka))
	for layout, x := range map[string]struct{ instance, database string }{"native": {"native", "fastnetmon"}, "fastnetmon": {"original", "original"}} {
		more := func(format string, args ...any) string {
			return fmt.Sprintf("  layout = %q\n", layout) + fmt.Sprintf(format, args...)
		}
		add("redis", x.instance, more("  socket = %q\n  prefix = %q", filepath.Join(dir, "redis"), x.database))
		add("influxdb", x.instance, more("  url = %q\n  user = \"admin\"\n  password = \"secret\"\n  database = %q", s.influx.URL, x.database))
		add("influxdb", x.instance+"_v2", more("  url = %q\n  version = 2\n  bucket = %q", s.victoria, x.database))
		add("graphite", x.instance, more("  address = \"127.0.0.1:%d\"\n  prefix = %q", s.graphite.Plain, x.database))
		add("clickhouse", x.instance, more("  address = \"127.0.0.1:%d\"\n  password = \"secret\"\n  database = %q", s.clickhouse.Native, x.database))
		add("mongodb", x.instance, more("  url = \"mongodb://%s\"\n  database = %q", s.mongodb, x.database))
	}
	return b.String(), names
}

// Live traffic with an attack, and an export to each store: each one gives back,
// by its own queries, every event once and in order, and the traffic to the packet.
func TestEveryStoreHasWhatWasCounted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts eight databases")
	}
	dir, port := t.TempDir(), freeUDP(t)
	s := newShelf(t, dir)
	exports, names := s.blocks(dir)
	block := fmt.Sprintf("capture \"sflow\" \"in\" {\n  listen = [\"127.0.0.1:%d\"]\n}\n%s", port, exports)
	text := strings.Replace(fmt.Sprintf(evidenceConfig, dir, 2000, block, "sflow"), "captures = [", "exports  = ["+strings.Join(names, ", ")+"]\n  captures = [", 1)
	config := write(t, "stores.hcl", text)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	sent := mustRun(t, "traffic", "--send", "sflow", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", "2s", "--network", "203.0.113.0/24", "--pps", "500", "--ipv6", "0",
		"--attack", "syn_flood,target="+attackTarget+",pps=8000").stdout
	l.waitLog(t, "attack started")
	var packets uint64
	sdktest.Until(t, "all that was sent is counted", func() error {
		row := balanced(t, config)
		packets = row.Used
		var datagrams, records, told uint64
		_, after, _ := strings.Cut(sent, ": ")
		if _, err := fmt.Sscanf(after, "%d datagrams, %d records of %d packets", &datagrams, &records, &told); err != nil {
			t.Fatalf("%v: %s", err, sent)
		}
		if row.Received != told || row.Used != told {
			return fmt.Errorf("%d received, %d counted, %d sent: %v", row.Received, row.Used, told, row.Dropped)
		}
		return nil
	})
	want := s.events()
	for name, check := range map[string]func(packets uint64, want []told) error{
		"Redis": s.checkRedis, "InfluxDB": s.checkInflux, "VictoriaMetrics": s.checkVictoria, "Graphite": s.checkGraphite, "Prometheus": s.checkPrometheus,
		"ClickHouse": s.checkClickHouse, "Kafka": s.checkKafka, "MongoDB": s.checkMongoDB,
	} {
		sdktest.Until(t, name, func() error { return check(packets, want) })
	}
	l.stop(t)
}

// told is an event as the lines have it.
type told struct {
	Event, ID string
	Seq       int
	PeakPPS   float64 `json:"peak_pps"`
}

func (e told) key() string { return fmt.Sprintf("%s-%d", e.ID, e.Seq) }

// events waits for the attack's end and returns its events.
func (s *shelf) events() (out []told) {
	sdktest.Until(s.t, "the attack ends", func() error {
		text, err := os.ReadFile(s.told)
		if err != nil {
			return err
		}
		out = nil
		for line := range bytes.Lines(text) {
			var e told
			if err := json.Unmarshal(line, &e); err != nil {
				return err
			}
			out = append(out, e)
		}
		if len(out) == 0 || out[len(out)-1].Event != "attack.ended" {
			return fmt.Errorf("%d events", len(out))
		}
		return nil
	})
	if out[0].Event != "attack.started" || out[len(out)-1].Seq != len(out) {
		s.t.Fatalf("these are not one attack's: %+v", out)
	}
	return out
}

// same compares events, by key and in order, and counts of packets.
func same(keys []string, want []told, packets uint64, counted ...any) error {
	var wanted []string
	for _, e := range want {
		wanted = append(wanted, e.key())
	}
	if !slices.Equal(keys, wanted) {
		return fmt.Errorf("the events are %v, want %v", keys, wanted)
	}
	for _, c := range counted {
		if fmt.Sprint(c) != fmt.Sprint(packets) {
			return fmt.Errorf("%v packets, want %d", c, packets)
		}
	}
	return nil
}

func (s *shelf) checkRedis(packets uint64, want []told) error {
	messages, err := s.redis.Stream("fastnetmon:events")
	if err != nil {
		return err
	}
	var keys []string
	for _, m := range messages {
		keys = append(keys, m["id"]+"-"+m["seq"])
	}
	input, err := s.redis.Hash("fastnetmon:input:sflow.in")
	if err != nil {
		return err
	}
	if err := same(keys, want, packets, input["received"], input["used"]); err != nil {
		return err
	}
	document, err := s.redis.Ask("GET", "original_"+attackTarget+"_information")
	if err == nil && !strings.Contains(document, `"`+attackTarget+`"`) {
		err = fmt.Errorf("the original's document is %q", document)
	}
	return err
}

// column are the values of a query's only column but time, as text.
func (s *shelf) column(database, query string) (out []string, err error) {
	series, err := s.influx.Query(s.t.Context(), database, query)
	for _, x := range series {
		for _, v := range x.Values {
			out = append(out, fmt.Sprint(v[len(v)-1]))
		}
	}
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s: nothing", query)
	}
	return out, err
}

func (s *shelf) checkInflux(packets uint64, want []told) error {
	keys, err := s.column("fastnetmon", "SELECT event_id FROM fastnetmon_event")
	if err != nil {
		return err
	}
	received, err := s.column("fastnetmon", "SELECT last(received) FROM fastnetmon_input WHERE input = 'sflow.in'")
	if err != nil {
		return err
	}
	original, err := s.column("original", "SELECT last(total_simple_packets_processed) FROM system_counters")
	if err != nil {
		return err
	}
	return same(keys, want, packets, received[0], original[0])
}

// exported are the values of VictoriaMetrics' series of a name, by time.
func (s *shelf) exported(name string) (out []float64, err error) {
	if _, err := stores.Get(s.t.Context(), s.victoria+"/internal/force_flush", ""); err != nil {
		return nil, err
	}
	text, err := stores.Get(s.t.Context(), s.victoria+"/api/v1/export?"+url.Values{"match[]": {name}}.Encode(), "")
	if err != nil {
		return nil, err
	}
	at := map[int64][]float64{}
	for line := range strings.Lines(text) {
		var series struct {
			Values     []float64
			Timestamps []int64
		}
		if err := json.Unmarshal([]byte(line), &series); err != nil {
			return nil, err
		}
		for i, t := range series.Timestamps {
			at[t] = append(at[t], series.Values[i])
		}
	}
	for _, t := range slices.Sorted(maps.Keys(at)) {
		slices.Sort(at[t])
		out = append(out, at[t]...)
	}
	if len(out) == 0 {
		err = errors.New(name + " is not there")
	}
	return out, err
}

func (s *shelf) checkVictoria(packets uint64, want []told) error {
	numbers, err := s.exported("fastnetmon_event_seq")
	if err != nil {
		return err
	}
	var keys []string
	for _, n := range numbers { // it keeps no texts
		keys = append(keys, fmt.Sprintf("%s-%v", want[0].ID, n))
	}
	received, err := s.exported("fastnetmon_input_received")
	if err != nil {
		return err
	}
	original, err := s.exported("system_counters_total_simple_packets_processed")
	if err != nil {
		return err
	}
	return same(keys, want, packets, received[len(received)-1], original[len(original)-1])
}

func (s *shelf) checkGraphite(packets uint64, want []told) error {
	target := strings.ReplaceAll(attackTarget, ".", "_")
	all, err := s.graphite.Render("fastnetmon.input.*.received", "fastnetmon.event.*."+target+".incoming", "original.total.incoming.pps")
	if err != nil {
		return err
	}
	var counted float64
	for name, points := range all {
		if strings.HasPrefix(name, "fastnetmon.input.") {
			counted = points[len(points)-1].Value
		}
	}
	for _, e := range []told{want[0], want[len(want)-1]} { // others may share a second
		got := all["fastnetmon.event."+strings.ReplaceAll(e.Event, ".", "_")+"."+target+".incoming"]
		if len(got) != 1 || got[0].Value-e.PeakPPS > 0.001 || e.PeakPPS-got[0].Value > 0.001 {
			return fmt.Errorf("%s is %v, want %v", e.Event, got, e.PeakPPS)
		}
	}
	if len(all["original.total.incoming.pps"]) == 0 {
		return errors.New("nothing in the original's layout")
	}
	if counted != float64(packets) {
		return fmt.Errorf("%v packets, want %d", counted, packets)
	}
	return nil
}

func (s *shelf) checkPrometheus(packets uint64, _ []told) error {
	for query, want := range map[string]uint64{
		"sum(fastnetmon_input_records_received_total)": packets, "sum(fastnetmon_input_records_used_total)": packets,
		"sum(fastnetmon_attacks_started_total)": 1, "sum(fastnetmon_attacks_ended_total)": 1,
	} {
		text, err := stores.Get(s.t.Context(), s.prometheus+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), "")
		if err != nil {
			return err
		}
		if !strings.Contains(text, fmt.Sprintf(`,"%d"]`, want)) {
			return fmt.Errorf("%s is not %d: %s", query, want, text)
		}
	}
	return nil
}

func (s *shelf) checkClickHouse(packets uint64, want []told) error {
	rows, err := s.clickhouse.Ask("SELECT event_id FROM fastnetmon.event ORDER BY seq")
	if err != nil {
		return err
	}
	var keys []string
	for _, r := range rows {
		keys = append(keys, fmt.Sprint(r["event_id"]))
	}
	counted, err := s.clickhouse.Ask("SELECT (SELECT max(received) FROM fastnetmon.input) AS native, (SELECT max(used) FROM fastnetmon.input) AS used, " +
		"(SELECT max(value) FROM original.system_metrics WHERE name = 'total_simple_packets_processed') AS original")
	if err != nil || len(counted) != 1 {
		return fmt.Errorf("%d rows, %w", len(counted), err)
	}
	return same(keys, want, packets, counted[0]["native"], counted[0]["used"], counted[0]["original"])
}

func (s *shelf) checkKafka(packets uint64, want []told) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka), kgo.ConsumeTopics("fastnetmon-events", "fastnetmon-snapshots"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var keys []string
	var counted uint64
	for counted != packets || len(keys) < len(want) {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			break
		}
		for _, r := range fetches.Records() {
			if r.Topic == "fastnetmon-events" {
				keys = append(keys, string(r.Headers[0].Value))
				continue
			}
			var row struct {
				Kind     string
				Received uint64
			}
			if err := json.Unmarshal(r.Value, &row); err != nil {
				return err
			}
			if row.Kind == "input" {
				counted = max(counted, row.Received)
			}
		}
	}
	return same(keys, want, packets, counted)
}

func (s *shelf) checkMongoDB(packets uint64, want []told) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + s.mongodb).SetServerSelectionTimeout(5 * time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(ctx) }()
	find := func(database, collection string, filter bson.D, sort string) (out []bson.M, err error) {
		cursor, err := client.Database(database).Collection(collection).Find(ctx, filter, options.Find().SetSort(bson.D{{Key: sort, Value: 1}}))
		if err == nil {
			err = cursor.All(ctx, &out)
		}
		return out, err
	}
	list, err := find("fastnetmon", "events", bson.D{}, "number")
	if err != nil {
		return err
	}
	var keys []string
	for _, doc := range list {
		keys = append(keys, fmt.Sprint(doc["_id"]))
	}
	inputs, err := find("fastnetmon", "rates", bson.D{{Key: "kind", Value: "input"}}, "time")
	if err != nil || len(inputs) == 0 {
		return fmt.Errorf("%d rows of inputs, %w", len(inputs), err)
	}
	last := inputs[len(inputs)-1]
	attacks, err := find("original", "attacks", bson.D{}, "_id")
	if err != nil || len(attacks) != 1 {
		return fmt.Errorf("%d documents in the original's layout, %w", len(attacks), err)
	}
	return same(keys, want, packets, last["received"], last["used"])
}

package main

import (
	"context"
	"net"
	"regexp"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	Brokers        []string        `hcl:"brokers,optional" doc:"hosts and ports of some brokers; 127.0.0.1:9092 unless set"`
	EventsTopic    string          `hcl:"events_topic,optional" doc:"for attacks and mitigations, \"\" for none; fastnetmon-events unless set"`
	SnapshotsTopic string          `hcl:"snapshots_topic,optional" doc:"for rates, \"\" for none; fastnetmon-snapshots unless set"`
	Format         string          `hcl:"format,optional" doc:"of messages: json or protobuf; json unless set"`
	Compression    string          `hcl:"compression,optional" doc:"none, gzip, snappy, lz4 or zstd; snappy unless set"`
	Mechanism      string          `hcl:"mechanism,optional" doc:"of SASL: plain, scram-sha-256 or scram-sha-512; plain unless set, where there is a user"`
	User           string          `hcl:"user,optional" doc:"where the brokers ask for one"`
	Password       string          `hcl:"password,optional,sensitive" doc:"of user"`
	TLS            *delivery.TLS   `hcl:"tls,block"`
	Records        *records        `hcl:"records,block"`
	Delivery       delivery.Config `hcl:"delivery,block,optional"`
}

// records is the block that asks for every packet and flow record.
type records struct {
	Topic  string   `hcl:"topic,optional" doc:"fastnetmon-records unless set"`
	Layout string   `hcl:"layout,optional" doc:"native, or fastnetmon: the messages of FastNetMon Community; native unless set"`
	Key    string   `hcl:"key,optional" doc:"none, source, destination or exporter: messages of one address go to one partition; none unless set"`
	Acks   string   `hcl:"acks,optional" doc:"none, leader or all: who has a message before it counts as delivered; leader unless set"`
	Memory sdk.Size `hcl:"memory,optional" doc:"for messages under way at most; 32MiB unless set"`
}

// SetDefaults fills in what a block leaves out.
func (r *records) SetDefaults() {
	*r = records{Topic: "fastnetmon-records", Layout: delivery.LayoutNative, Key: "none", Acks: "leader", Memory: 32 << 20}
}

// formats are those of messages.
const (
	formatJSON     = "json"
	formatProtobuf = "protobuf"
)

// acks are the ways to acknowledge a message.
var acks = map[string]kgo.Acks{"none": kgo.NoAck(), "leader": kgo.LeaderAck(), "all": kgo.AllISRAcks()}

func defaults() config {
	return config{
		Brokers: []string{"127.0.0.1:9092"}, EventsTopic: "fastnetmon-events", SnapshotsTopic: "fastnetmon-snapshots", Compression: "snappy", Mechanism: "plain", Format: formatJSON,
		Delivery: delivery.Defaults(),
	}
}

var topicShape = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	c := &e.cfg
	fail := func(at diag.Path, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(at, summary, detail, args...))
	}
	attr := func(name string) diag.Path { return diag.Path{}.Attr(name) }
	if len(c.Brokers) == 0 {
		fail(attr("brokers"), "No brokers", "The list is empty: name one broker at least, the others are found through it.")
	}
	for i, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			fail(attr("brokers").Index(i), "Bad address", `%q is no host with a port. Write one such as "kafka.example.net:9092".`, b)
		}
	}
	for name, topic := range map[string]string{"events_topic": c.EventsTopic, "snapshots_topic": c.SnapshotsTopic} {
		if topic != "" && !topicShape.MatchString(topic) {
			fail(attr(name), "Bad name of a topic", "%q cannot name a topic: use letters, digits, dots, - and _, 249 at most.", topic)
		}
	}
	if c.EventsTopic == "" && c.SnapshotsTopic == "" && c.Records == nil {
		fail(attr("events_topic"), "Nothing to produce", "events_topic and snapshots_topic are both empty, and there is no block records.")
	}
	if c.Format != formatJSON && c.Format != formatProtobuf {
		fail(attr("format"), "Unknown format", "%q is neither json nor protobuf.", c.Format)
	}
	ds = append(ds, c.Records.check(attr("records"))...)
	if _, ok := codecs[c.Compression]; !ok {
		fail(attr("compression"), "Unknown compression", "%q is none of none, gzip, snappy, lz4 and zstd.", c.Compression)
	}
	if _, err := mechanism(c); err != nil {
		fail(attr("mechanism"), "Unknown mechanism", "%s", err)
	}
	if c.User == "" && c.Password != "" {
		fail(attr("password"), "Password without user", "Set user as well.")
	}
	ds = append(ds, c.TLS.Check(attr("tls"))...)
	return append(ds, c.Delivery.Check(attr("delivery"))...).Err()
}

// check complains of what makes no sense; at is the block's path.
func (r *records) check(at diag.Path) (ds diag.Diagnostics) {
	if r == nil {
		return nil
	}
	fail := func(name, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(at.Attr(name), summary, detail, args...))
	}
	if !topicShape.MatchString(r.Topic) {
		fail("topic", "Bad name of a topic", "%q cannot name a topic: use letters, digits, dots, - and _, 249 at most.", r.Topic)
	}
	ds = append(ds, delivery.CheckLayout(at.Attr("layout"), r.Layout)...)
	if _, ok := keys[r.Key]; !ok {
		fail("key", "Unknown key", "%q is none of none, source, destination and exporter.", r.Key)
	}
	if _, ok := acks[r.Acks]; !ok {
		fail("acks", "Unknown acknowledgement", "%q is none of none, leader and all.", r.Acks)
	}
	if r.Memory < 1<<20 || r.Memory > 1<<34 {
		fail("memory", "Value out of range", "%d bytes are not between 1MiB and 16GiB.", uint64(r.Memory))
	}
	return ds
}

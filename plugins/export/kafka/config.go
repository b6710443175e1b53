package main

import (
	"context"
	"net"
	"regexp"
	"strconv"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	Brokers        []string        `hcl:"brokers,optional" doc:"hosts and ports of some brokers; 127.0.0.1:9092 unless set"`
	EventsTopic    string          `hcl:"events_topic,optional" doc:"for attacks and mitigations, \"\" for none; fastnetmon-events unless set"`
	SnapshotsTopic string          `hcl:"snapshots_topic,optional" doc:"for rates, \"\" for none; fastnetmon-snapshots unless set"`
	Compression    string          `hcl:"compression,optional" doc:"none, gzip, snappy, lz4 or zstd; snappy unless set"`
	Mechanism      string          `hcl:"mechanism,optional" doc:"of SASL: plain, scram-sha-256 or scram-sha-512; plain unless set, where there is a user"`
	User           string          `hcl:"user,optional" doc:"where the brokers ask for one"`
	Password       string          `hcl:"password,optional,sensitive" doc:"of user"`
	TLS            *delivery.TLS   `hcl:"tls,block"`
	Delivery       delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{
		Brokers: []string{"127.0.0.1:9092"}, EventsTopic: "fastnetmon-events", SnapshotsTopic: "fastnetmon-snapshots", Compression: "snappy", Mechanism: "plain",
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
	if c.EventsTopic == "" && c.SnapshotsTopic == "" {
		fail(attr("events_topic"), "Nothing to produce", "events_topic and snapshots_topic are both empty.")
	}
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

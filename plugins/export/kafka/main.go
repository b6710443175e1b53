// Command export-kafka produces rates, attacks and, if asked, every record to
// Kafka, a message of JSON or protobuf each.
package main

import (
	"context"
	"errors"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "kafka",
		Version:    version,
		Summary:    "produces rates, attacks and records to Kafka, a message of JSON or protobuf each",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&producer{cfg: c}, c.Delivery, env), cfg: c, stream: newStream(c)}, nil
		}),
	}
}

// exporter is a queue before a Kafka and, beside it, a stream of records.
type exporter struct {
	*delivery.Queue
	cfg    config
	stream *stream
}

// WantsRecords tells whether there is a topic for them.
func (e *exporter) WantsRecords() bool { return e.cfg.Records != nil }

// NewTap produces the records of one ring.
func (e *exporter) NewTap(address func(index uint32) netip.Addr) sdk.Tap {
	return e.stream.tap(address)
}

// Start begins to deliver.
func (e *exporter) Start(ctx context.Context) error {
	if e.WantsRecords() {
		if err := e.stream.start(); err != nil {
			return err
		}
	}
	return e.Queue.Start(ctx)
}

// Close makes a last try to deliver what waits.
func (e *exporter) Close(ctx context.Context) error {
	return errors.Join(e.stream.close(ctx), e.Queue.Close(ctx))
}

// Health fails while messages cannot be delivered.
func (e *exporter) Health(ctx context.Context) error {
	return errors.Join(e.Queue.Health(ctx), e.stream.health())
}

// Metrics tells how the delivery goes.
func (e *exporter) Metrics() []sdk.Metric {
	if !e.WantsRecords() {
		return e.Queue.Metrics()
	}
	return append(e.Queue.Metrics(), e.stream.metrics()...)
}

// Command export-kafka produces rates and attacks to Kafka, a message of JSON
// each.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "kafka",
		Version:    version,
		Summary:    "produces rates and attacks to Kafka, a message of JSON each",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&producer{cfg: c}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a Kafka.
type exporter struct {
	*delivery.Queue
	cfg config
}

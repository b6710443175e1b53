// Command export-redis keeps rates and attacks in Redis: keys, documents and a
// stream of events.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "redis",
		Version:    version,
		Summary:    "keeps rates and attacks in Redis, with a stream of events",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&database{cfg: c}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a Redis.
type exporter struct {
	*delivery.Queue
	cfg config
}

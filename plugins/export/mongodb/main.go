// Command export-mongodb keeps attacks, mitigations and rates in MongoDB, or in
// what speaks its protocol.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "mongodb",
		Version:    version,
		Summary:    "keeps attacks, mitigations and rates in MongoDB",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&database{cfg: c, log: env.Logger}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a MongoDB.
type exporter struct {
	*delivery.Queue
	cfg config
}

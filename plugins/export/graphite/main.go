// Command export-graphite writes rates, attacks and the state of FastNetMon to
// Graphite: a carbon daemon, or whatever takes its plaintext or pickle protocol.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "graphite",
		Version:    version,
		Summary:    "writes rates, attacks and the program's own state to Graphite",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&carbon{cfg: c}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a carbon daemon.
type exporter struct {
	*delivery.Queue
	cfg config
}

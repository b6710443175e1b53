// Command export-influxdb writes rates, attacks and the state of FastNetMon to
// InfluxDB 1 or 2, or to whatever takes their line protocol over HTTP.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "influxdb",
		Version:    version,
		Summary:    "writes rates, attacks and the program's own state to InfluxDB",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&database{cfg: c}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a database.
type exporter struct {
	*delivery.Queue
	cfg config
}

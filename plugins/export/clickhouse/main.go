// Command export-clickhouse writes rates, attacks and the state of FastNetMon to
// ClickHouse, over its native protocol.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "clickhouse",
		Version:    version,
		Summary:    "writes rates, attacks and the program's own state to ClickHouse",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&database{cfg: c, log: env.Logger}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a ClickHouse.
type exporter struct {
	*delivery.Queue
	cfg config
}

// Command export-file appends what FastNetMon tells to a file, a line of JSON
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
		Name:       "file",
		Version:    version,
		Summary:    "appends rates and attacks to a file, a line of JSON each",
		KeepsState: true,
		Exporter: sdk.NewExporter(defaults(), func(c config, env sdk.Env) (*exporter, error) {
			return &exporter{Queue: delivery.New(&lines{cfg: c}, c.Delivery, env), cfg: c}, nil
		}),
	}
}

// exporter is a queue before a file.
type exporter struct {
	*delivery.Queue
	cfg config
}

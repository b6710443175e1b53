// Command export-prometheus shows rates, attacks and the state of FastNetMon
// to Prometheus, over HTTP.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "prometheus",
		Version: version,
		Summary: "shows rates, attacks and the program's own state to Prometheus",
		Exporter: sdk.NewExporter(config{
			Listen:    "127.0.0.1:9209",
			Path:      "/metrics",
			TopHosts:  100,
			MaxSeries: 10000,
		}, func(c config, env sdk.Env) (*exporter, error) { return newExporter(c, env.Logger), nil }),
	}
}

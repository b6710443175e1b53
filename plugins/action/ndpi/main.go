//go:build ndpi

// Command action-ndpi looks into the sampled packets of attacks with nDPI, and
// says which application's they are and whether they are answers of amplifiers.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "ndpi",
		Version: version,
		Summary: "says of which applications an attack's packets are, and finds amplifiers' answers, with nDPI",
		Inspector: sdk.NewInspector(config{MinShare: 0.5}, func(c config, _ sdk.Env) (*inspector, error) {
			return newInspector(c)
		}),
	}
}

// Command action-exabgp has ExaBGP announce mitigations.
package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "exabgp",
		Version:     version,
		Summary:     "has ExaBGP announce blackholes, diversions and flow-spec rules, over a named pipe or its CLI's pipes",
		Mitigator:   sdk.NewMitigator(config{Refresh: time.Minute, Timeout: 5 * time.Second}, newAction),
		TargetBlock: "announce",
		KeepsState:  true,
	}
}

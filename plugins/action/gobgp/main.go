// Command action-gobgp announces routes and flow-spec rules over BGP: with a
// speaker of its own, or through a gobgpd that runs already.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "gobgp",
		Version:     version,
		Summary:     "announces blackholes, diversions and flow-spec rules to BGP neighbours",
		Mitigator:   sdk.NewMitigator(config{}, newAction),
		TargetBlock: "announce",
		KeepsState:  true,
	}
}

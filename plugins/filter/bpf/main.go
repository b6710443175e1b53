// Command filter-bpf keeps, drops or marks records by an expression in the
// language of tcpdump.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "bpf",
		Version: version,
		Summary: "keeps, drops or marks traffic by an expression in the language of tcpdump",
		Filter:  sdk.NewFilter(config{Then: verdict.Keep}, newFilter),
	}
}

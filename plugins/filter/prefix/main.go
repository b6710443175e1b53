// Command filter-prefix keeps, drops or marks records by lists of prefixes.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "prefix",
		Version: version,
		Summary: "keeps, drops or marks traffic by lists of prefixes",
		Filter:  sdk.NewFilter(config{Match: matchEither, Then: verdict.Drop, Hold: true}, newFilter),
	}
}

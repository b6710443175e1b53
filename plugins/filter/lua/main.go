// Command filter-lua has Lua scripts judge records.
package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "lua",
		Version: version,
		Summary: "has a Lua script keep, drop or mark traffic (" + engineName + ")",
		Filter:  sdk.NewFilter(config{Memory: 64 << 20, Deadline: 500 * time.Millisecond}, newFilter),
	}
}

// Command capture-sflow receives sFlow: versions 5, 4 and 2.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "sflow",
		Version: version,
		Summary: "receives sFlow versions 5, 4 and 2",
		Capture: sdk.NewCapture(defaults(), newCapture),
	}
}

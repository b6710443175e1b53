// Command capture-netflow receives NetFlow v5, NetFlow v9 and IPFIX.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "netflow",
		Version: version,
		Summary: "receives NetFlow v5, NetFlow v9 and IPFIX over UDP",
		Capture: sdk.NewCapture(defaults(), newCapture),

		KeepsState: true, // templates
	}
}

// Command capture-pcap reads capture files.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "pcap",
		Version: version,
		Summary: "reads capture files (pcap and pcapng, gzip or not), and an interface through " + liveName,
		Capture: sdk.NewCapture(defaults(), newCapture),
	}
}

// Command capture-afpacket receives frames from network interfaces of Linux.
package main

import "github.com/fastnetmon-go/fastnetmon/sdk"

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "afpacket",
		Version: version,
		Summary: "receives frames from network interfaces (Linux packet sockets)",
		Capture: sdk.NewCapture(defaults(), newCapture),
	}
}

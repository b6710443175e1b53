package main

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// config is the plugin's block.
type config struct {
	Pipe      string           `hcl:"pipe,optional" doc:"named pipe that a process of ExaBGP's reads, such as /run/exabgp.cmd; nothing is acknowledged"`
	CLI       string           `hcl:"cli,optional" doc:"path of the CLI's named pipes without .in and .out, such as /run/exabgp/exabgp; needs ExaBGP 4 with api.ack"`
	Refresh   time.Duration    `hcl:"refresh,optional" doc:"how often everything is written again, or compared with what ExaBGP has; 1m unless set"`
	Timeout   time.Duration    `hcl:"timeout,optional" doc:"how long ExaBGP may take to answer on the CLI's pipes; 5s unless set"`
	LocalAS   uint32           `hcl:"local_as,optional" doc:"ExaBGP's AS number; needed for as_path_prepend"`
	Neighbors []netip.Addr     `hcl:"neighbors,optional" doc:"ExaBGP's neighbours, and its own addresses: nothing is ever announced against them"`
	Announce  []announce.Block `hcl:"announce,block" doc:"a way to announce; actions refer to it by its label"`
}

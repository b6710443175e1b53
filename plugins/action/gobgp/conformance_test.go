package main

import (
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// Nobody listens on the neighbour's port.
const nobody = `
	local_as  = 65001
	router_id = "192.0.2.10"
	neighbor "127.0.0.1" {
		peer_as       = 65002
		port          = 1
		connect_retry = "100ms"
	}
	announce "blackhole" {
		next_hop = "192.0.2.66"
	}
`

func TestConformance(t *testing.T) {
	// What a gobgp server does never ends: this one is there before anybody looks.
	s, err := takeServer(t.Context(), 65001, netip.MustParseAddr("192.0.2.10"))
	if err != nil {
		t.Fatal(err)
	}
	giveServer(s)
	t.Run("speaker", func(t *testing.T) { sdktest.Conformance(t, plugin(), nobody) })
	t.Run("api", func(t *testing.T) {
		sdktest.Conformance(t, plugin(), `
			api = "127.0.0.1:1"
			announce "blackhole" {
				next_hop = "192.0.2.66"
			}
		`)
	})
}

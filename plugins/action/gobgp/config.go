package main

import (
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// config is the plugin's block.
type config struct {
	LocalAS   uint32           `hcl:"local_as,optional" doc:"our AS number; needed with neighbor blocks"`
	RouterID  netip.Addr       `hcl:"router_id,optional" doc:"our BGP identifier, an IPv4 address; needed with neighbor blocks"`
	Listen    []netip.AddrPort `hcl:"listen,optional" doc:"addresses on which passive neighbours may connect; none unless set"`
	Neighbors []neighbor       `hcl:"neighbor,block" doc:"who is told"`
	API       string           `hcl:"api,optional" doc:"host:port of the gRPC API of a gobgpd to drive instead of neighbours of our own"`
	APICA     string           `hcl:"api_ca,optional" doc:"file with the certificates that gobgpd's is checked against; with it, TLS is spoken"`
	APICert   string           `hcl:"api_cert,optional" doc:"file with our certificate"`
	APIKey    string           `hcl:"api_key,optional" doc:"file with the key of our certificate"`
	APIName   string           `hcl:"api_server_name,optional" doc:"name in gobgpd's certificate; the host in api unless set"`
	Announce  []announce.Block `hcl:"announce,block" doc:"a way to announce; actions refer to it by its label"`
}

// neighbor is one BGP session of the speaker's own.
type neighbor struct {
	Address         string        `hcl:"address,label" doc:"the neighbour's address"`
	PeerAS          uint32        `hcl:"peer_as" doc:"its AS number"`
	Port            uint16        `hcl:"port,optional" doc:"TCP port; 179 unless set"`
	LocalAddress    netip.Addr    `hcl:"local_address,optional" doc:"our address of the session; the system chooses unless set"`
	Password        string        `hcl:"password,optional,sensitive" doc:"of TCP MD5 signatures (RFC 2385)"`
	Multihop        uint8         `hcl:"multihop,optional" doc:"how many hops away an external neighbour may be; 1 unless set"`
	TTLSecurity     uint8         `hcl:"ttl_security,optional" doc:"refuse packets from further than so many hops (RFC 5082)"`
	Families        []string      `hcl:"families,optional" doc:"ipv4-unicast, ipv6-unicast, ipv4-flowspec, ipv6-flowspec; what the announce blocks need unless set"`
	HoldTime        time.Duration `hcl:"hold_time,optional" doc:"how long a silent neighbour is trusted; 90s unless set"`
	ConnectRetry    time.Duration `hcl:"connect_retry,optional" doc:"longest pause between two tries to connect; 2s unless set"`
	GracefulRestart time.Duration `hcl:"graceful_restart,optional" doc:"how long the neighbour keeps routes while we are away (RFC 4724); 2m unless set, 0s: not at all"`
	Passive         bool          `hcl:"passive,optional" doc:"wait for the neighbour to connect; needs listen"`
}

// SetDefaults sets what a neighbor block leaves out.
func (n *neighbor) SetDefaults() {
	n.Port = bgp.BGP_PORT
	n.HoldTime = 90 * time.Second
	n.ConnectRetry = 2 * time.Second
	n.GracefulRestart = 2 * time.Minute
}

// families are the names of the address families that can be spoken.
var families = map[string]bgp.RouteFamily{
	"ipv4-unicast":  bgp.RF_IPv4_UC,
	"ipv6-unicast":  bgp.RF_IPv6_UC,
	"ipv4-flowspec": bgp.RF_FS_IPv4_UC,
	"ipv6-flowspec": bgp.RF_FS_IPv6_UC,
}

// familyNames are the same, in the order in which they are told.
var familyNames = []string{"ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec"}

func familyName(f bgp.RouteFamily) string {
	for _, name := range familyNames {
		if families[name] == f {
			return name
		}
	}
	return f.String()
}

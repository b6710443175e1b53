package main

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// config is the plugin's block.
type config struct {
	Pipe      string        `hcl:"pipe,optional" doc:"named pipe that a process of ExaBGP's reads, such as /run/exabgp.cmd; nothing is acknowledged"`
	CLI       string        `hcl:"cli,optional" doc:"path of the CLI's named pipes without .in and .out, such as /run/exabgp/exabgp; needs ExaBGP 4 with api.ack"`
	Refresh   time.Duration `hcl:"refresh,optional" doc:"how often everything is written again, or compared with what ExaBGP has; 1m unless set"`
	Timeout   time.Duration `hcl:"timeout,optional" doc:"how long ExaBGP may take to answer on the CLI's pipes; 5s unless set"`
	LocalAS   uint32        `hcl:"local_as,optional" doc:"ExaBGP's AS number; needed for as_path_prepend"`
	Neighbors []netip.Addr  `hcl:"neighbors,optional" doc:"ExaBGP's neighbours, and its own addresses: nothing is ever announced against them"`
	Announce  []announce    `hcl:"announce,block" doc:"a way to announce; actions refer to it by its label"`
}

// announce is one way to announce a mitigation. With then it makes flow-spec
// rules, else routes.
type announce struct {
	Name                string     `hcl:"name,label" doc:"what actions refer to"`
	Prefix              string     `hcl:"prefix,optional" doc:"host: the target (unless set); subnet: the prefix of ours that holds it"`
	PrefixLength        []int      `hcl:"prefix_length,optional" doc:"widen hosts to prefixes of these lengths: IPv4, IPv6"`
	NextHop             netip.Addr `hcl:"next_hop,optional" doc:"next hop of IPv4 routes"`
	NextHopV6           netip.Addr `hcl:"next_hop_v6,optional" doc:"next hop of IPv6 routes"`
	Communities         []string   `hcl:"communities,optional" doc:"such as 65001:666; of routes that do not divert, BLACKHOLE (RFC 7999) unless set"`
	LargeCommunities    []string   `hcl:"large_communities,optional" doc:"such as 65001:666:1 (RFC 8092)"`
	ExtendedCommunities []string   `hcl:"extended_communities,optional" doc:"such as rt:65001:100 or soo:65001:1"`
	NoExport            bool       `hcl:"no_export,optional" doc:"add NO_EXPORT; true unless set"`
	Divert              bool       `hcl:"divert,optional" doc:"routes lead the traffic elsewhere instead of dropping it"`
	LocalPref           *uint32    `hcl:"local_pref,optional" doc:"local preference, for internal neighbours"`
	MED                 *uint32    `hcl:"med,optional" doc:"multi-exit discriminator"`
	ASPathPrepend       int        `hcl:"as_path_prepend,optional" doc:"how often our AS number is put in front once more; needs local_as"`

	Then           string           `hcl:"then,optional" doc:"flow spec: discard, rate-limit, redirect or mark"`
	BytesPerSecond *sdk.Size        `hcl:"bytes_per_second,optional" doc:"flow spec: what rate-limit leaves of the traffic, in octets per second"`
	Redirect       string           `hcl:"redirect,optional" doc:"flow spec: where redirect leads: a route target (65001:100) or an address"`
	DSCP           *int             `hcl:"dscp,optional" doc:"flow spec: what mark writes"`
	Matches        []flowspec.Match `hcl:"match,block" doc:"flow spec: rules by hand, one each; by the attack's label unless there are any"`
}

// SetDefaults sets what an announce block leaves out.
func (a *announce) SetDefaults() {
	a.Prefix = prefixHost
	a.NoExport = true
}

const (
	prefixHost   = "host"
	prefixSubnet = "subnet"

	thenDiscard   = "discard"
	thenRateLimit = "rate-limit"
	thenRedirect  = "redirect"
	thenMark      = "mark"
)

// Package announce is what mitigators that announce have in common, whatever
// speaker they announce with: the block that says how, read and checked, and
// what a mitigation comes to under it. Nothing of it is in a speaker's own form.
package announce

import (
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// Block is an announce block: one way to announce a mitigation. With then it
// makes flow-spec rules, else routes.
//
//	Announce []announce.Block `hcl:"announce,block" doc:"a way to announce; actions refer to it by its label"`
type Block struct {
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
	ASPathPrepend       int        `hcl:"as_path_prepend,optional" doc:"how often our AS number is put in front once more, for external neighbours"`

	Then           string           `hcl:"then,optional" doc:"flow spec: discard, rate-limit, redirect or mark"`
	BytesPerSecond *sdk.Size        `hcl:"bytes_per_second,optional" doc:"flow spec: what rate-limit leaves of the traffic, in octets per second"`
	Redirect       string           `hcl:"redirect,optional" doc:"flow spec: where redirect leads: a route target (65001:100) or an address"`
	DSCP           *int             `hcl:"dscp,optional" doc:"flow spec: what mark writes"`
	Matches        []flowspec.Match `hcl:"match,block" doc:"flow spec: rules by hand, one each; by the attack's label unless there are any"`
}

// SetDefaults sets what an announce block leaves out.
func (b *Block) SetDefaults() {
	b.Prefix = PrefixHost
	b.NoExport = true
}

// Values of Block.Prefix.
const (
	PrefixHost   = "host"
	PrefixSubnet = "subnet"
)

// Values of Block.Then.
const (
	Discard   = "discard"
	RateLimit = "rate-limit"
	Redirect  = "redirect"
	Mark      = "mark"
)

// Profile is an announce block, read.
type Profile struct {
	Name       string
	Subnet     bool   // the whole prefix of ours is announced, not the target
	Lengths    [2]int // that hosts are widened to, IPv4 and IPv6; 0: they are not
	Divert     bool
	NoExport   bool
	Attributes Attributes
	Action     Action
	Rules      []*flowspec.Rule // by hand; by the event's label where there are none
}

// Attributes are what a route carries, the same for all of a profile's but for
// what a hostgroup sets otherwise.
type Attributes struct {
	NextHop, NextHopV6 netip.Addr
	Communities        []Community
	Large              []Large
	Extended           []Extended
	LocalPref, MED     *uint32
	Prepend            int // of our AS number, beside the one that is there anyway
}

// NextHopOf is the next hop in a prefix's family; invalid there is none.
func (a *Attributes) NextHopOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return a.NextHopV6
	}
	return a.NextHop
}

// Action is what flow-spec rules do (RFC 8955, 7). The zero value: there are
// none, routes are announced.
type Action struct {
	Then           string
	BytesPerSecond uint64     // of RateLimit
	DSCP           uint8      // of Mark
	To             netip.Addr // of Redirect, where it leads to an address
	Target         Extended   // of Redirect, where it leads to a route target
}

// FlowSpec reports whether the profile makes flow-spec rules.
func (p *Profile) FlowSpec() bool { return p.Action.Then != "" }

// Discards reports whether what is announced drops traffic.
func (p *Profile) Discards() bool {
	if p.FlowSpec() {
		return p.Action.Then == Discard
	}
	return !p.Divert
}

// Addresses are those that the profile leads traffic to: a mitigator's Protected
// has them, beside the speaker's own and its neighbours'.
func (p *Profile) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range []netip.Addr{p.Attributes.NextHop, p.Attributes.NextHopV6, p.Action.To} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// wellKnown are communities that have names (RFC 1997, RFC 3765, RFC 7999, RFC 8326).
var wellKnown = map[string]bgp.WellKnownCommunity{
	"blackhole":         bgp.COMMUNITY_BLACKHOLE,
	"graceful-shutdown": bgp.COMMUNITY_PLANNED_SHUT,
	"no-advertise":      bgp.COMMUNITY_NO_ADVERTISE,
	"no-export":         bgp.COMMUNITY_NO_EXPORT,
	"no-peer":           bgp.COMMUNITY_NO_PEER,
}

// parseCommunity reads 65001:666 or a name.
func parseCommunity(s string) (uint32, error) {
	if c, ok := wellKnown[strings.ToLower(s)]; ok {
		return uint32(c), nil
	}
	n, err := numbers(s, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no community: write two numbers from 0 to 65535, as in 65001:666, or blackhole, no-export, no-advertise, no-peer or graceful-shutdown", s)
	}
	return uint32(n[0])<<16 | uint32(n[1]), nil
}

func communityText(c uint32) string {
	for name, known := range wellKnown {
		if uint32(known) == c {
			return name
		}
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
}

// parseLarge reads 65001:1:2.
func parseLarge(s string) (*bgp.LargeCommunity, error) {
	n, err := numbers(s, 32, 32, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is no large community: write three numbers from 0 to 4294967295, as in 65001:666:1", s)
	}
	return bgp.NewLargeCommunity(uint32(n[0]), uint32(n[1]), uint32(n[2])), nil
}

// parseExtended reads rt:65001:100, soo:192.0.2.1:100 or color:100.
func parseExtended(s string) (bgp.ExtendedCommunityInterface, error) {
	kind, rest, _ := strings.Cut(s, ":")
	var subtype bgp.ExtendedCommunityAttrSubType
	switch strings.ToLower(kind) {
	case "rt":
		subtype = bgp.EC_SUBTYPE_ROUTE_TARGET
	case "soo":
		subtype = bgp.EC_SUBTYPE_ROUTE_ORIGIN
	case "color":
		if n, err := strconv.ParseUint(rest, 10, 32); err == nil {
			return bgp.NewColorExtended(uint32(n)), nil
		}
	}
	if subtype != 0 {
		if ec := administrated(subtype, rest); ec != nil {
			return ec, nil
		}
	}
	return nil, fmt.Errorf("%q is no extended community that is known here: write rt:65001:100, rt:192.0.2.1:100, soo:65001:100 or color:100", s)
}

// administrated reads AS:value or address:value (RFC 4360, RFC 5668); nil it is neither.
func administrated(subtype bgp.ExtendedCommunityAttrSubType, s string) bgp.ExtendedCommunityInterface {
	admin, value, _ := strings.Cut(s, ":")
	if addr, err := netip.ParseAddr(admin); err == nil && addr.Is4() {
		if n, err := strconv.ParseUint(value, 10, 16); err == nil {
			return bgp.NewIPv4AddressSpecificExtended(subtype, addr.String(), uint16(n), true)
		}
		return nil
	}
	if n, err := numbers(s, 16, 32); err == nil {
		return bgp.NewTwoOctetAsSpecificExtended(subtype, uint16(n[0]), uint32(n[1]), true)
	}
	if n, err := numbers(s, 32, 16); err == nil {
		return bgp.NewFourOctetAsSpecificExtended(subtype, uint32(n[0]), uint16(n[1]), true)
	}
	return nil
}

// redirection reads where flow-spec rules redirect to: a route target
// (RFC 8955, 7.4) or an address (draft-ietf-idr-flowspec-redirect-ip; 0x010c and, for
// IPv6, 0x000c). v6 says in which family the address is.
func redirection(s string) (ec bgp.ExtendedCommunityInterface, v6, address bool, err error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		if addr.Is4() {
			return bgp.NewIPv4AddressSpecificExtended(redirectNextHop, addr.String(), 0, true), false, true, nil
		}
		return bgp.NewIPv6AddressSpecificExtended(redirectNextHop, addr.String(), 0, true), true, true, nil
	}
	admin, value, _ := strings.Cut(s, ":")
	if addr, err := netip.ParseAddr(admin); err == nil && addr.Is4() {
		if n, err := strconv.ParseUint(value, 10, 16); err == nil {
			return bgp.NewRedirectIPv4AddressSpecificExtended(addr.String(), uint16(n)), false, false, nil
		}
	}
	if n, err := numbers(s, 16, 32); err == nil {
		return bgp.NewRedirectTwoOctetAsSpecificExtended(uint16(n[0]), uint32(n[1])), false, false, nil
	}
	if n, err := numbers(s, 32, 16); err == nil {
		return bgp.NewRedirectFourOctetAsSpecificExtended(uint32(n[0]), uint16(n[1])), false, false, nil
	}
	return nil, false, false, fmt.Errorf("%q is neither a route target, such as 65001:100, nor an address", s)
}

// redirectNextHop is the subtype of redirect-to-IP.
const redirectNextHop bgp.ExtendedCommunityAttrSubType = 0x0c

// numbers reads numbers with colons between, of so many bits each.
func numbers(s string, bits ...int) ([]uint64, error) {
	parts := strings.Split(s, ":")
	if len(parts) != len(bits) {
		return nil, fmt.Errorf("%d numbers are needed", len(bits))
	}
	out := make([]uint64, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits[i])
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

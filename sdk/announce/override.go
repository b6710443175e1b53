package announce

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Override puts what a hostgroup sets, Mitigation.Attributes, in the place of
// the profile's own, and returns the outcome: a mitigator's Override asks for
// no more than the error.
func (p *Profile) Override(values map[string][]string) (Attributes, error) {
	a := p.Attributes
	for name, list := range values {
		if err := p.set(&a, name, list); err != nil {
			return a, fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return a, nil
}

func (p *Profile) set(a *Attributes, name string, list []string) error {
	var err error
	switch name {
	case "next_hop", "next_hop_v6":
		return a.setNextHop(name, list)
	case "communities":
		if a.Communities, err = parseAll(list, ParseCommunity); err == nil {
			a.Communities = p.withNoExport(a.Communities)
		}
	case "large_communities":
		a.Large, err = parseAll(list, ParseLarge)
	case "extended_communities":
		a.Extended, err = parseAll(list, ParseExtended)
	case "local_pref":
		a.LocalPref, err = oneNumber(list)
	case "med":
		a.MED, err = oneNumber(list)
	default:
		return errors.New("hostgroups may set next_hop, communities, large_communities, extended_communities, local_pref and med")
	}
	return err
}

// setNextHop takes one address of each family. Flow-spec rules have no next hop
// and do nothing with it: a hostgroup's attributes are for all its actions.
func (a *Attributes) setNextHop(name string, list []string) error {
	if len(list) == 0 {
		return errors.New("name an address")
	}
	var seen [2]bool
	for _, s := range list {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is no address", s)
		}
		if err := usable(addr); err != nil {
			return err
		}
		i := addr.BitLen() / 128
		if seen[i] || name == "next_hop_v6" && addr.Is4() {
			return fmt.Errorf("%q is one address too many of its family here", s)
		}
		seen[i] = true
		if addr.Is4() {
			a.NextHop = addr
		} else {
			a.NextHopV6 = addr
		}
	}
	return nil
}

// usable says why traffic cannot be led to an address.
func usable(addr netip.Addr) error {
	if addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() || addr.Zone() != "" || addr.IsLinkLocalUnicast() || addr.IsLoopback() {
		return fmt.Errorf("%s cannot be a next hop: it has to be an ordinary unicast address", addr)
	}
	return nil
}

func (p *Profile) withNoExport(list []Community) []Community {
	if p.NoExport && !slices.Contains(list, NoExport) {
		return append(slices.Clip(list), NoExport)
	}
	return list
}

// parseAll reads each of a list; what is there twice is there once.
func parseAll[T comparable](list []string, parse func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, nil
}

func oneNumber(list []string) (*uint32, error) {
	if len(list) == 1 {
		if n, err := numbers(list[0], 32); err == nil {
			v := uint32(n[0])
			return &v, nil
		}
	}
	return nil, errors.New("write one number from 0 to 4294967295")
}

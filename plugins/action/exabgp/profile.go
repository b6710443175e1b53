package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// profile is an announce block, read.
type profile struct {
	*announce.Profile
	localAS uint32
}

// profile is the one that a mitigation names.
func (s *settings) profile(name string) (profile, error) {
	p, err := s.profiles.Find("exabgp", name)
	return profile{p, s.LocalAS}, err
}

// plan is all that a mitigation comes to; an error says why it cannot be done.
func (p profile) plan(m *sdk.Mitigation) ([]*route, error) {
	if err := p.fits(m.Attributes); err != nil {
		return nil, err
	}
	plan, err := p.Plan(m)
	if err != nil {
		return nil, err
	}
	if !p.FlowSpec() {
		r, err := p.unicast(plan.Prefix, plan.Attributes)
		if err != nil {
			return nil, err
		}
		return []*route{r}, nil
	}
	var out []*route
	for _, rule := range plan.Rules {
		r, err := p.flow(plan.Prefix, rule, plan.Attributes)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o *route) bool { return o.key == r.key }) {
			out = append(out, r)
		}
	}
	return out, nil
}

// fits says what of a hostgroup's attributes ExaBGP cannot be told.
func (p profile) fits(values map[string][]string) error {
	for name := range values {
		if p.FlowSpec() && (name == "next_hop" || name == "next_hop_v6") {
			return fmt.Errorf("attribute %s: announce %q makes flow-spec rules, which have no next hop", name, p.Name)
		}
	}
	a, err := p.Override(values)
	if err == nil && slices.ContainsFunc(a.Extended, announce.Extended.IsColor) {
		err = fmt.Errorf("attribute extended_communities: %w", errColor)
	}
	return err
}

var errColor = errors.New("ExaBGP is told no colours here: write rt:65001:100, rt:192.0.2.1:100 or soo:65001:100")

// extendedText is an extended community as ExaBGP has it: with a small AS number
// by name, else as its octets, since ExaBGP 4.2 mistakes what an address stands
// for.
func extendedText(e announce.Extended) string {
	if e[0] != 0 {
		return fmt.Sprintf("0x%X", e[:])
	}
	as, _, value := e.Administrator()
	return fmt.Sprintf("%s:%d:%d", map[byte]string{2: "target", 3: "origin"}[e[1]], as, value)
}

// actionText is what rules do, in ExaBGP's words; an error says what of it ExaBGP
// cannot do.
func actionText(a *announce.Action) (string, error) {
	switch a.Then {
	case announce.RateLimit:
		return "rate-limit " + strconv.FormatUint(a.BytesPerSecond, 10), nil
	case announce.Mark:
		return fmt.Sprintf("mark %d", a.DSCP), nil
	case announce.Redirect:
		return redirectText(a)
	}
	return a.Then, nil
}

func redirectText(a *announce.Action) (string, error) {
	as, addr, value := a.Target.Administrator()
	switch {
	case a.To.Is6():
		return "", errors.New("ExaBGP cannot redirect to an IPv6 address: write a route target, such as 65001:100")
	case a.To.IsValid():
		return "redirect " + a.To.String(), nil
	case addr.IsValid():
		return "", errors.New("ExaBGP takes no route target with an address: write one with an AS number, such as 65001:100")
	}
	return fmt.Sprintf("redirect %d:%d", as, value), nil
}

// words writes each of some values.
func words[T any](values []T, text func(T) string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = text(v)
	}
	return strings.Join(out, " ")
}

// add puts an address into what is protected, once.
func add(list []netip.Prefix, addr netip.Addr) []netip.Prefix {
	if p := netip.PrefixFrom(addr.WithZone(""), addr.BitLen()); !slices.Contains(list, p) {
		return append(list, p)
	}
	return list
}

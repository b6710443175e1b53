package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
)

// routeKey tells routes apart as BGP does: by family and NLRI.
type routeKey struct {
	family bgp.RouteFamily
	nlri   string // as it is on the wire
}

// route is one route or flow-spec rule as it is announced.
type route struct {
	key      routeKey
	prefix   netip.Prefix // destination of the traffic it touches
	nlri     bgp.AddrPrefixInterface
	text     string
	discard  bool
	flowSpec bool
	matches  int
	attrs    announce.Attributes
	action   bgp.ExtendedCommunityInterface // of a flow-spec rule; nil accepts
}

// Key is what tells the route from others.
func (r *route) Key() routeKey { return r.key }

func keyOf(nlri bgp.AddrPrefixInterface) (routeKey, error) {
	b, err := nlri.Serialize()
	if err != nil {
		return routeKey{}, err
	}
	return routeKey{bgp.AfiSafiToRouteFamily(nlri.AFI(), nlri.SAFI()), string(b)}, nil
}

// newRoute completes a route: its key and the text for people.
func newRoute(r route) (*route, error) {
	var err error
	if r.key, err = keyOf(r.nlri); err != nil {
		return nil, fmt.Errorf("%s cannot be written as a route: %w", r.prefix, err)
	}
	var b strings.Builder
	b.WriteString(r.text)
	if hop := r.attrs.NextHopOf(r.prefix); !r.flowSpec {
		fmt.Fprintf(&b, " next hop %s", hop)
	}
	list(&b, "communities", r.attrs.Communities, announce.Community.Name)
	list(&b, "large communities", r.attrs.Large, announce.Large.String)
	list(&b, "extended communities", r.attrs.Extended, func(e announce.Extended) string { return extendedOf(e).String() })
	r.text = b.String()
	return &r, nil
}

func list[T any](b *strings.Builder, name string, values []T, text func(T) string) {
	if len(values) == 0 {
		return
	}
	b.WriteString(" " + name)
	for _, v := range values {
		b.WriteString(" " + text(v))
	}
}

// as is our AS number and whether a neighbour is in the same one.
type as struct {
	local    uint32
	internal bool
}

// path writes the route for gobgp. as is what it is announced from; the zero
// value where neighbours are not known.
func (r *route) path(from as) (*api.Path, error) {
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE)}
	switch hop := r.attrs.NextHopOf(r.prefix); {
	case r.flowSpec: // has none (RFC 8955, 4); the library wants to see one
		attrs = append(attrs, bgp.NewPathAttributeMpReachNLRI("0.0.0.0", []bgp.AddrPrefixInterface{r.nlri}))
	case hop.Is4():
		attrs = append(attrs, bgp.NewPathAttributeNextHop(hop.String()))
	case hop.Is6():
		attrs = append(attrs, bgp.NewPathAttributeMpReachNLRI(hop.String(), []bgp.AddrPrefixInterface{r.nlri}))
	default:
		return nil, errors.New("the route has no next hop")
	}
	// Our own AS number in the path of a route to an internal neighbour would
	// be a loop to it.
	if r.attrs.Prepend > 0 && from.local != 0 && !from.internal {
		path := make([]uint32, r.attrs.Prepend)
		for i := range path {
			path[i] = from.local
		}
		attrs = append(attrs, bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, path)}))
	}
	if r.attrs.MED != nil {
		attrs = append(attrs, bgp.NewPathAttributeMultiExitDisc(*r.attrs.MED))
	}
	if r.attrs.LocalPref != nil {
		attrs = append(attrs, bgp.NewPathAttributeLocalPref(*r.attrs.LocalPref)) // taken out again for external neighbours
	}
	attrs = append(attrs, r.communities()...)
	return apiutil.NewPath(r.nlri, false, attrs, time.Now())
}

// communities are the attributes that communities and the rule's action stand in.
func (r *route) communities() []bgp.PathAttributeInterface {
	var attrs []bgp.PathAttributeInterface
	if len(r.attrs.Communities) > 0 {
		list := make([]uint32, len(r.attrs.Communities))
		for i, c := range r.attrs.Communities {
			list[i] = uint32(c)
		}
		attrs = append(attrs, bgp.NewPathAttributeCommunities(list))
	}
	if len(r.attrs.Large) > 0 {
		list := make([]*bgp.LargeCommunity, len(r.attrs.Large))
		for i, c := range r.attrs.Large {
			list[i] = bgp.NewLargeCommunity(c[0], c[1], c[2])
		}
		attrs = append(attrs, bgp.NewPathAttributeLargeCommunities(list))
	}
	var extended []bgp.ExtendedCommunityInterface
	switch action := r.action.(type) {
	case nil:
	case *bgp.IPv6AddressSpecificExtended: // these stand in an attribute of their own (RFC 5701)
		attrs = append(attrs, bgp.NewPathAttributeIP6ExtendedCommunities([]bgp.ExtendedCommunityInterface{action}))
	default:
		extended = append(extended, action)
	}
	for _, e := range r.attrs.Extended {
		extended = append(extended, extendedOf(e))
	}
	if len(extended) > 0 {
		attrs = append(attrs, bgp.NewPathAttributeExtendedCommunities(extended))
	}
	return attrs
}

// same reports whether two routes with the same key are announced alike.
func (r *route) same(other *route) bool {
	if r == other {
		return true
	}
	a, err1 := r.signature()
	b, err2 := other.signature()
	return err1 == nil && err2 == nil && a == b
}

// signature is the route's attributes as text, equal for equal ones.
func (r *route) signature() (string, error) {
	p, err := r.path(as{local: 1})
	if err != nil {
		return "", err
	}
	attrs, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, a := range attrs {
		octets, err := a.Serialize()
		if err != nil {
			return "", err
		}
		b.Write(octets)
	}
	return b.String(), nil
}

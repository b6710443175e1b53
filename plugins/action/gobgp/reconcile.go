package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reconcile makes gobgpd have what is wanted, and looks who has it.
func (r *remote) reconcile() error {
	r.mu.Lock()
	wanted, ours, synced := maps.Clone(r.wanted), maps.Clone(r.ours), r.synced
	peers := slices.Clone(r.peers)
	r.mu.Unlock()
	if !synced {
		return nil
	}
	there, err := r.local(wanted)
	if err != nil {
		return err
	}
	failed := map[routeKey]string{}
	for _, k := range slices.SortedFunc(maps.Keys(wanted), compareKeys) {
		x := wanted[k]
		held, known := ours[k]
		found, present := there[k]
		if present && !known && found != x.mark() {
			failed[k] = "gobgpd has a route of its own to this, which is left alone"
			continue
		}
		if present && known && held != nil && held.same(x) || present && found == x.mark() {
			ours[k] = x
			continue
		}
		ours[k] = held
		if err := r.file.save(ours); err != nil { // before it is announced: it must be found again
			r.log.Warn("what is announced cannot be remembered over a crash", "error", err)
		}
		if err := r.add(x); err != nil {
			if unreachable(err) {
				return err
			}
			failed[k] = "gobgpd refuses it: " + status.Convert(err).Message()
			continue
		}
		ours[k] = x
	}
	if err := r.remove(ours, wanted); err != nil {
		return err
	}
	r.mu.Lock()
	r.ours, r.failed = ours, failed
	r.mu.Unlock()
	return r.seen(peers, wanted)
}

// remove withdraws what is ours and no more wanted.
func (r *remote) remove(ours, wanted map[routeKey]*route) error {
	gone := false
	for k := range ours {
		if wanted[k] != nil {
			continue
		}
		if err := r.withdraw(k); err != nil && unreachable(err) {
			return err
		} else if err != nil {
			r.log.Error("gobgpd does not withdraw a route", "error", err)
			continue
		}
		delete(ours, k)
		gone = true
	}
	if gone {
		if err := r.file.save(ours); err != nil {
			r.log.Warn("what is announced cannot be remembered over a crash", "error", err)
		}
	}
	return nil
}

func unreachable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}

func (r *remote) add(x *route) error {
	p, err := x.path(as{})
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	_, err = r.client.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: p})
	return err
}

// withdraw takes back what is known by its key only.
func (r *remote) withdraw(k routeKey) error {
	nlri, err := k.decode()
	if err != nil {
		return err
	}
	p, err := apiutil.NewPath(nlri, true, []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE), bgp.NewPathAttributeMpReachNLRI("::", []bgp.AddrPrefixInterface{nlri}),
	}, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	_, err = r.client.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: p})
	return err
}

// decode makes a route's NLRI from its key.
func (k routeKey) decode() (bgp.AddrPrefixInterface, error) {
	afi, safi := bgp.RouteFamilyToAfiSafi(k.family)
	nlri, err := bgp.NewPrefixFromRouteFamily(afi, safi)
	if err != nil {
		return nil, err
	}
	return nlri, nlri.DecodeFromBytes([]byte(k.nlri))
}

// local finds which of the routes gobgpd originates, and with what attributes.
func (r *remote) local(wanted map[routeKey]*route) (map[routeKey]string, error) {
	out := map[routeKey]string{}
	err := r.each(wanted, api.TableType_GLOBAL, "", func(k routeKey, p *api.Path) {
		if _, err := netip.ParseAddr(p.GetNeighborIp()); err != nil { // a neighbour's has its address
			out[k] = markOf(p)
		}
	})
	return out, err
}

// seen looks what each neighbour has.
func (r *remote) seen(peers []remotePeer, wanted map[routeKey]*route) error {
	out := map[string]map[routeKey]struct{}{}
	for _, p := range peers {
		has := map[routeKey]struct{}{}
		out[p.name] = has
		if !p.up {
			continue
		}
		mine := maps.Clone(wanted)
		maps.DeleteFunc(mine, func(k routeKey, _ *route) bool { return !slices.Contains(p.families, k.family) })
		if err := r.each(mine, api.TableType_ADJ_OUT, p.name, func(k routeKey, _ *api.Path) { has[k] = struct{}{} }); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.out = out
	r.mu.Unlock()
	return nil
}

// each calls f for the paths to these routes in one of gobgpd's tables. Of
// tables for unicast, which may be large, only these routes are asked for.
func (r *remote) each(routes map[routeKey]*route, table api.TableType, name string, f func(routeKey, *api.Path)) error {
	for _, familyName := range familyNames {
		family := families[familyName]
		afi, safi := bgp.RouteFamilyToAfiSafi(family)
		req := &api.ListPathRequest{TableType: table, Name: name, Family: &api.Family{Afi: api.Family_Afi(afi), Safi: api.Family_Safi(safi)}}
		some := false
		for k, x := range routes {
			if k.family != family {
				continue
			}
			some = true
			if !x.flowSpec {
				req.Prefixes = append(req.Prefixes, &api.TableLookupPrefix{Prefix: x.prefix.String(), Type: api.TableLookupPrefix_EXACT})
			}
		}
		if !some {
			continue
		}
		ctx, cancel := r.call()
		err := r.list(ctx, req, func(p *api.Path) {
			nlri, err := apiutil.GetNativeNlri(p)
			if err != nil {
				return
			}
			if k, err := keyOf(nlri); err == nil && routes[k] != nil {
				f(k, p)
			}
		})
		cancel()
		if err != nil {
			return fmt.Errorf("listing %s: %w", familyName, err)
		}
	}
	return nil
}

func (r *remote) list(ctx context.Context, req *api.ListPathRequest, f func(*api.Path)) error {
	stream, err := r.client.ListPath(ctx, req)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range m.GetDestination().GetPaths() {
			f(p)
		}
	}
}

// mark is what a path of this route looks like in gobgpd's table.
func (r *route) mark() string {
	p, err := r.path(as{})
	if err != nil {
		return ""
	}
	return markOf(p)
}

// markOf writes a path's attributes in a fixed order, but for those in which
// gobgpd's table differs from what it was told.
func markOf(p *api.Path) string {
	attrs, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return ""
	}
	var parts []string
	for _, a := range attrs {
		if a.GetType() == bgp.BGP_ATTR_TYPE_MP_REACH_NLRI {
			if reach, ok := a.(*bgp.PathAttributeMpReachNLRI); ok {
				parts = append(parts, "next hop "+reach.Nexthop.String())
			}
			continue
		}
		if b, err := a.Serialize(); err == nil {
			parts = append(parts, string(binary.BigEndian.AppendUint16(nil, uint16(a.GetType())))+string(b))
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%q", parts)
}

package main

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

// Operators of flow-spec components (RFC 8955, 4.2.1.1 and 4.2.1.2).
const (
	opAnd     = 0x40
	opLess    = 0x04
	opGreater = 0x02
	opEqual   = 0x01

	bitNot   = 0x02
	bitMatch = 0x01 // all bits of the value, else any of them
)

// nlriOf writes a rule with a destination.
func nlriOf(r *flowspec.Rule, destination netip.Prefix) bgp.AddrPrefixInterface {
	v6 := destination.Addr().Is6()
	var parts []bgp.FlowSpecComponentInterface
	if v6 {
		parts = append(parts, bgp.NewFlowSpecDestinationPrefix6(prefix6(destination), 0))
	} else {
		parts = append(parts, bgp.NewFlowSpecDestinationPrefix(prefix4(destination)))
	}
	switch source := r.Source(v6); {
	case !source.IsValid():
	case v6:
		parts = append(parts, bgp.NewFlowSpecSourcePrefix6(prefix6(source), 0))
	default:
		parts = append(parts, bgp.NewFlowSpecSourcePrefix(prefix4(source)))
	}
	if len(r.Protocols) > 0 {
		var spans []flowspec.Span
		for _, p := range r.Protocols {
			n := uint64(p.V4)
			if v6 {
				n = uint64(p.V6)
			}
			spans = append(spans, flowspec.Span{Low: n, High: n})
		}
		parts = append(parts, numericComponent(bgp.FLOW_SPEC_TYPE_IP_PROTO, spans))
	}
	for _, typ := range slices.Sorted(maps.Keys(r.Numeric)) {
		parts = append(parts, numericComponent(bgp.BGPFlowSpecType(typ), r.Numeric[typ]))
	}
	if c := flagComponent(r.Set, r.Clear); c != nil {
		parts = append(parts, c)
	}
	if f := r.Fragment; f != 0 {
		if v6 {
			f &^= flowspec.DontFragment // there is no such bit (RFC 8956, 3.6)
		}
		parts = append(parts, bgp.NewFlowSpecComponent(bgp.FLOW_SPEC_TYPE_FRAGMENT, []*bgp.FlowSpecComponentItem{item(0, uint64(f))}))
	}
	if v6 {
		return bgp.NewFlowSpecIPv6Unicast(parts)
	}
	return bgp.NewFlowSpecIPv4Unicast(parts)
}

func prefix4(p netip.Prefix) bgp.AddrPrefixInterface {
	return bgp.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String())
}

func prefix6(p netip.Prefix) bgp.AddrPrefixInterface {
	return bgp.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String())
}

// item is a value with its operator. The library puts the value's length into it.
func item(op uint8, value uint64) *bgp.FlowSpecComponentItem {
	return bgp.NewFlowSpecComponentItem(op, value)
}

func numericComponent(typ bgp.BGPFlowSpecType, spans []flowspec.Span) *bgp.FlowSpecComponent {
	var items []*bgp.FlowSpecComponentItem
	for _, s := range spans {
		if s.Low == s.High {
			items = append(items, item(opEqual, s.Low))
			continue
		}
		items = append(items, item(opGreater|opEqual, s.Low), item(opAnd|opLess|opEqual, s.High))
	}
	return bgp.NewFlowSpecComponent(typ, items)
}

// flagComponent asks for TCP flags; nil for none.
func flagComponent(set, unset uint8) *bgp.FlowSpecComponent {
	var items []*bgp.FlowSpecComponentItem
	if set != 0 {
		items = append(items, item(bitMatch, uint64(set)))
	}
	if unset != 0 {
		op := uint8(bitNot) // not any of them
		if len(items) > 0 {
			op |= opAnd
		}
		items = append(items, item(op, uint64(unset)))
	}
	if items == nil {
		return nil
	}
	return bgp.NewFlowSpecComponent(bgp.FLOW_SPEC_TYPE_TCP_FLAG, items)
}

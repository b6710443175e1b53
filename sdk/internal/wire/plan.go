package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// PlanToProto encodes a counting plan.
func PlanToProto(p *count.Plan) *pb.Plan {
	out := &pb.Plan{Revision: p.Revision, CountFlows: p.CountFlows, Seed: p.Seed, MaxRows: p.MaxRows}
	for _, x := range p.Prefixes {
		out.Prefixes = append(out.Prefixes, &pb.PlanPrefix{
			Address: x.Prefix.Addr().AsSlice(), Length: uint32(x.Prefix.Bits()), Network: x.Network, Group: x.Group,
			V6HostLen: uint32(x.V6HostLen), CountInternal: x.CountInternal,
		})
	}
	for _, g := range p.Groups {
		out.Groups = append(out.Groups, &pb.PlanGroup{Id: g.ID, Packets: g.Packets, Bytes: g.Bytes, Flows: g.Flows, Community: g.Community})
	}
	for i := range p.Counters {
		c := &p.Counters[i]
		out.Counters = append(out.Counters, &pb.PlanCounter{
			Id: uint32(c.ID), Name: c.Name, Protocols: slices.Clone(c.Protocols),
			SourcePorts: portsToProto(c.SrcPorts), DestinationPorts: portsToProto(c.DstPorts),
			FlagsSet: uint32(c.FlagsSet), FlagsClear: uint32(c.FlagsClear),
			Fragment: clonePtr(c.Fragment), Dropped: clonePtr(c.Dropped),
			Lengths: rangesToProto(c.Lengths), Classes: slices.Clone(c.Classes),
		})
	}
	for _, e := range p.Exemptions {
		out.Exemptions = append(out.Exemptions, &pb.PlanExemption{
			Name: e.Name, Local: prefixesToProto(e.Local), Remote: prefixesToProto(e.Remote),
			Protocols: slices.Clone(e.Protocols), Ports: portsToProto(e.Ports),
			Incoming: e.Incoming, Outgoing: e.Outgoing, UntilUnix: e.UntilUnix, Counter: uint32(e.Counter),
		})
	}
	return out
}

// PlanFromProto decodes a counting plan and checks what its types promise.
func PlanFromProto(in *pb.Plan) (*count.Plan, error) {
	if in == nil {
		return nil, errors.New("the plan is missing")
	}
	if len(in.GetCounters()) > count.MaxCounters {
		return nil, fmt.Errorf("the plan has %d counters, at most %d are possible", len(in.GetCounters()), count.MaxCounters)
	}
	p := &count.Plan{Revision: in.GetRevision(), CountFlows: in.GetCountFlows(), Seed: in.GetSeed(), MaxRows: in.GetMaxRows()}
	for _, x := range in.GetPrefixes() {
		addr, ok := netip.AddrFromSlice(x.GetAddress())
		if !ok || x.GetLength() > uint32(addr.BitLen()) || x.GetV6HostLen() > 128 {
			return nil, fmt.Errorf("the plan's prefix %x/%d is none", x.GetAddress(), x.GetLength())
		}
		p.Prefixes = append(p.Prefixes, count.Prefix{
			Prefix: netip.PrefixFrom(addr, int(x.GetLength())).Masked(), Network: x.GetNetwork(), Group: x.GetGroup(),
			V6HostLen: uint8(x.GetV6HostLen()), CountInternal: x.GetCountInternal(),
		})
	}
	for _, g := range in.GetGroups() {
		p.Groups = append(p.Groups, count.Group{ID: g.GetId(), Packets: g.GetPackets(), Bytes: g.GetBytes(), Flows: g.GetFlows(), Community: g.GetCommunity()})
	}
	for _, c := range in.GetCounters() {
		counter, err := counterFromProto(c)
		if err != nil {
			return nil, err
		}
		p.Counters = append(p.Counters, counter)
	}
	for _, e := range in.GetExemptions() {
		exemption, err := exemptionFromProto(e)
		if err != nil {
			return nil, err
		}
		p.Exemptions = append(p.Exemptions, exemption)
	}
	return p, nil
}

func counterFromProto(c *pb.PlanCounter) (count.Counter, error) {
	if c.GetId() >= count.MaxCounters || c.GetFlagsSet() > 255 || c.GetFlagsClear() > 255 {
		return count.Counter{}, fmt.Errorf("the plan's counter %q has an id or TCP flags that cannot be", c.GetName())
	}
	src, err1 := portsFromProto(c.GetSourcePorts())
	dst, err2 := portsFromProto(c.GetDestinationPorts())
	if err := errors.Join(err1, err2); err != nil {
		return count.Counter{}, fmt.Errorf("the plan's counter %q: %w", c.GetName(), err)
	}
	out := count.Counter{
		ID: uint8(c.GetId()), Name: c.GetName(), Protocols: slices.Clone(c.GetProtocols()), SrcPorts: src, DstPorts: dst,
		FlagsSet: uint8(c.GetFlagsSet()), FlagsClear: uint8(c.GetFlagsClear()),
		Fragment: clonePtr(c.Fragment), Dropped: clonePtr(c.Dropped), Classes: slices.Clone(c.GetClasses()),
	}
	for _, r := range c.GetLengths() {
		out.Lengths = append(out.Lengths, count.Range{From: r.GetFrom(), To: r.GetTo()})
	}
	return out, nil
}

func exemptionFromProto(e *pb.PlanExemption) (count.Exemption, error) {
	local, err1 := prefixesFromProto(e.GetLocal())
	remote, err2 := prefixesFromProto(e.GetRemote())
	ports, err3 := portsFromProto(e.GetPorts())
	if err := errors.Join(err1, err2, err3); err != nil {
		return count.Exemption{}, fmt.Errorf("the plan's exemption %q: %w", e.GetName(), err)
	}
	if e.GetCounter() > count.MaxCounters {
		return count.Exemption{}, fmt.Errorf("the plan's exemption %q has a counter with id %d; ids are below %d", e.GetName(), e.GetCounter()-1, count.MaxCounters)
	}
	return count.Exemption{
		Name: e.GetName(), Local: local, Remote: remote, Protocols: slices.Clone(e.GetProtocols()), Ports: ports,
		Incoming: e.GetIncoming(), Outgoing: e.GetOutgoing(), UntilUnix: e.GetUntilUnix(), Counter: uint8(e.GetCounter()),
	}, nil
}

func portsToProto(in []count.PortRange) []*pb.PlanRange {
	var out []*pb.PlanRange
	for _, r := range in {
		out = append(out, &pb.PlanRange{From: uint32(r.From), To: uint32(r.To)})
	}
	return out
}

func portsFromProto(in []*pb.PlanRange) ([]count.PortRange, error) {
	var out []count.PortRange
	for _, r := range in {
		if r.GetFrom() > 65535 || r.GetTo() > 65535 {
			return nil, fmt.Errorf("ports %d to %d: a port is at most 65535", r.GetFrom(), r.GetTo())
		}
		out = append(out, count.PortRange{From: uint16(r.GetFrom()), To: uint16(r.GetTo())})
	}
	return out, nil
}

func rangesToProto(in []count.Range) []*pb.PlanRange {
	var out []*pb.PlanRange
	for _, r := range in {
		out = append(out, &pb.PlanRange{From: r.From, To: r.To})
	}
	return out
}

func prefixesToProto(in []netip.Prefix) []string {
	var out []string
	for _, p := range in {
		out = append(out, p.String())
	}
	return out
}

func prefixesFromProto(in []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range in {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func clonePtr(p *bool) *bool {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

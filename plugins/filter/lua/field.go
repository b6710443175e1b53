package main

import (
	"encoding/binary"
	"net/netip"

	lua "github.com/yuin/gopher-lua"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// field is a field of a record under the name that scripts know it by, nil for
// one that there is not.
func (e *gopher) field(r *traffic.Record, name string) lua.LValue {
	switch name {
	case "protocol":
		return lua.LNumber(r.Protocol)
	case "src_port":
		return lua.LNumber(r.SrcPort)
	case "dst_port":
		return lua.LNumber(r.DstPort)
	case "tcp_flags":
		return lua.LNumber(r.TCPFlags)
	case "packets":
		return lua.LNumber(r.Packets)
	case "bytes":
		return lua.LNumber(r.Bytes)
	case "length":
		return lua.LNumber(r.Bytes / max(r.Packets, 1))
	case "sampling":
		return lua.LNumber(r.Sampling)
	case "duration_ms":
		return lua.LNumber(r.DurationMs)
	case "time":
		return lua.LNumber(float64(r.Time) / 1e9)
	case "in_if":
		return lua.LNumber(r.InIf)
	case "out_if":
		return lua.LNumber(r.OutIf)
	case "src_as":
		return lua.LNumber(r.SrcAS)
	case "dst_as":
		return lua.LNumber(r.DstAS)
	case "vlan":
		return lua.LNumber(r.VLAN)
	case "ttl":
		return lua.LNumber(r.TTL)
	case "tos":
		return lua.LNumber(r.ToS)
	case "icmp_type":
		return lua.LNumber(r.ICMPType)
	case "icmp_code":
		return lua.LNumber(r.ICMPCode)
	}
	return e.derived(r, name)
}

// derived are the fields that are no numbers of a record's own.
func (e *gopher) derived(r *traffic.Record, name string) lua.LValue {
	has := func(m traffic.Marks) lua.LValue { return lua.LBool(r.Marks&m != 0) }
	text := func(a [16]byte) lua.LValue { return lua.LString(netip.AddrFrom16(a).Unmap().String()) }
	// word is an address as the original has it: its octets in memory order.
	word := func(a [16]byte) lua.LValue { return lua.LNumber(binary.LittleEndian.Uint32(a[12:])) }
	switch name {
	case "src":
		return text(r.Src)
	case "dst":
		return text(r.Dst)
	case "next_hop":
		return text(r.NextHop)
	case "ipv6":
		return has(traffic.MarkIPv6)
	case "fragment":
		return has(traffic.MarkFragment)
	case "later_fragment":
		return has(traffic.MarkLater)
	case "dropped":
		return has(traffic.MarkDropped)
	case "is_flow":
		return has(traffic.MarkFlow)
	case "exporter":
		return lua.LString(e.agent(r.Exporter))
	case "src_word", "dst_word":
		switch {
		case r.IsIPv6():
			return lua.LNumber(0)
		case name == "src_word":
			return word(r.Src)
		}
		return word(r.Dst)
	case "next_hop_word":
		if !netip.AddrFrom16(r.NextHop).Is4In6() {
			return lua.LNumber(0)
		}
		return word(r.NextHop)
	}
	return nil
}

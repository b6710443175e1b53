package main

import (
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/fastnetmon-go/fastnetmon/plugins/export/kafka/exportv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// encoder appends a record's message; exporter is who told of it, invalid where
// it is not known. One goroutine uses it.
type encoder func(b []byte, r *traffic.Record, at time.Time, exporter netip.Addr) []byte

// newEncoder is the encoder of a format and layout.
func newEncoder(format, layout string) encoder {
	switch {
	case format == formatProtobuf && layout == delivery.LayoutFastNetMon:
		return new(community).encode
	case format == formatProtobuf:
		return new(native).encode
	case layout == delivery.LayoutFastNetMon:
		return appendPacket
	}
	return appendRecord
}

// appendPacket is the original's JSON.
func appendPacket(b []byte, r *traffic.Record, at time.Time, exporter netip.Addr) []byte {
	agent := ""
	if exporter.IsValid() {
		agent = exporter.String()
	}
	return report.AppendPacket(b, r, at, agent)
}

// octets are an address's 4 or 16.
func octets(a *[16]byte) []byte {
	if netip.AddrFrom16(*a).Is4In6() {
		return a[12:]
	}
	return a[:]
}

// known are octets of an address, none where it is not known.
func known(a *[16]byte) []byte {
	if *a == [16]byte{} {
		return nil
	}
	return octets(a)
}

// native makes messages of type Record; the message and the exporter's address
// are used again and again.
type native struct {
	m        pb.Record
	exporter [16]byte
}

func (n *native) encode(b []byte, r *traffic.Record, at time.Time, exporter netip.Addr) []byte {
	m := &n.m
	m.TimeNs, m.SourceIp, m.DestinationIp = at.UnixNano(), octets(&r.Src), octets(&r.Dst)
	m.Packets, m.Octets, m.Sampling = r.Packets, r.Bytes, max(1, r.Sampling)
	m.Protocol, m.SourcePort, m.DestinationPort, m.TcpFlags = uint32(r.Protocol), uint32(r.SrcPort), uint32(r.DstPort), uint32(r.TCPFlags)
	m.Fragment, m.Dropped, m.Flow = r.Marks&traffic.MarkFragment != 0, r.Marks&traffic.MarkDropped != 0, r.Marks&traffic.MarkFlow != 0
	m.DurationMs, m.ExporterIp = r.DurationMs, address(&n.exporter, exporter)
	m.InputInterface, m.OutputInterface, m.SourceAsn, m.DestinationAsn = r.InIf, r.OutIf, r.SrcAS, r.DstAS
	m.NextHop, m.Vlan, m.Ttl, m.Tos = known(&r.NextHop), uint32(r.VLAN), uint32(r.TTL), uint32(r.ToS)
	m.IcmpType, m.IcmpCode, m.Classes = uint32(r.ICMPType), uint32(r.ICMPCode), r.Class
	return appendMessage(b, m)
}

// address is octets of an address, in memory that is there already.
func address(into *[16]byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return nil
	}
	*into = a.As16()
	return octets(into)
}

func appendMessage(b []byte, m proto.Message) []byte {
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		panic(err) // only texts that are not UTF-8 fail, and there are none
	}
	return b
}

// community makes messages of type TrafficData.
type community struct {
	m        pb.TrafficData
	exporter [16]byte
}

func (c *community) encode(b []byte, r *traffic.Record, at time.Time, exporter netip.Addr) []byte {
	m := &c.m
	m.TimestampSeconds, m.TimestampMilliseconds = uint64(at.Unix()), uint64(at.Nanosecond()/1_000_000)
	switch {
	case r.Marks&traffic.MarkFlow != 0:
		m.TelemetryType = pb.TelemetryType_TELEMETRY_TYPE_NETFLOW
	case r.Exporter != 0:
		m.TelemetryType = pb.TelemetryType_TELEMETRY_TYPE_SFLOW
	default:
		m.TelemetryType = pb.TelemetryType_TELEMETRY_TYPE_MIRROR
	}
	m.IpVersion = 4
	if r.IsIPv6() {
		m.IpVersion = 6
	}
	m.SamplingRatio, m.Protocol, m.SourceIp, m.DestinationIp = uint64(max(1, r.Sampling)), uint32(r.Protocol), octets(&r.Src), octets(&r.Dst)
	m.SourcePort, m.DestinationPort = uint32(r.SrcPort), uint32(r.DstPort)
	m.Packets, m.Octets = report.Unscaled(r)
	m.Ttl, m.TcpFlags, m.IpFragmented = uint32(r.TTL), uint32(r.TCPFlags), r.Marks&traffic.MarkFragment != 0
	m.InputInterface, m.OutputInterface, m.SourceAsn, m.DestinationAsn = uint64(r.InIf), uint64(r.OutIf), r.SrcAS, r.DstAS
	m.AgentAddress = address(&c.exporter, exporter)
	return appendMessage(b, m)
}

// appendRecord is a record as JSON, with the fields of the protobuf message
// Record: those that are not known or zero are left out, but for what it counts.
func appendRecord(b []byte, r *traffic.Record, at time.Time, exporter netip.Addr) []byte {
	b = strconv.AppendInt(append(b, `{"time_ns":`...), at.UnixNano(), 10)
	b = appendAddr(append(b, `,"source_ip":`...), r.SrcAddr())
	b = appendAddr(append(b, `,"destination_ip":`...), r.DstAddr())
	b = strconv.AppendUint(append(b, `,"packets":`...), r.Packets, 10)
	b = strconv.AppendUint(append(b, `,"octets":`...), r.Bytes, 10)
	b = strconv.AppendUint(append(b, `,"sampling":`...), uint64(max(1, r.Sampling)), 10)
	b = strconv.AppendUint(append(b, `,"protocol":`...), uint64(r.Protocol), 10)
	number := func(name string, v uint64) {
		if v != 0 {
			b = strconv.AppendUint(append(append(append(b, `,"`...), name...), `":`...), v, 10)
		}
	}
	mark := func(name string, m traffic.Marks) {
		if r.Marks&m != 0 {
			b = append(append(append(b, `,"`...), name...), `":true`...)
		}
	}
	number("source_port", uint64(r.SrcPort))
	number("destination_port", uint64(r.DstPort))
	number("tcp_flags", uint64(r.TCPFlags))
	mark("fragment", traffic.MarkFragment)
	mark("dropped", traffic.MarkDropped)
	mark("flow", traffic.MarkFlow)
	number("duration_ms", uint64(r.DurationMs))
	if exporter.IsValid() {
		b = appendAddr(append(b, `,"exporter_ip":`...), exporter)
	}
	number("input_interface", uint64(r.InIf))
	number("output_interface", uint64(r.OutIf))
	number("source_asn", uint64(r.SrcAS))
	number("destination_asn", uint64(r.DstAS))
	if r.NextHop != [16]byte{} {
		b = appendAddr(append(b, `,"next_hop":`...), netip.AddrFrom16(r.NextHop).Unmap())
	}
	number("vlan", uint64(r.VLAN))
	number("ttl", uint64(r.TTL))
	number("tos", uint64(r.ToS))
	number("icmp_type", uint64(r.ICMPType))
	number("icmp_code", uint64(r.ICMPCode))
	number("classes", r.Class)
	return append(b, '}')
}

func appendAddr(b []byte, a netip.Addr) []byte {
	return append(a.AppendTo(append(b, '"')), '"')
}

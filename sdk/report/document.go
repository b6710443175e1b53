package report

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Document is the attack as the JSON document that FastNetMon Community stores in
// Redis and MongoDB, with the fields and the order of its serialize_attack_description
// and write_simple_packet: numbers are whole, traffic is in bytes a second, _bits
// in bits. action is "ban" or "unban".
func Document(e *sdk.Event, action string) ([]byte, error) {
	in, out := byCounter(e.Incoming), byCounter(e.Outgoing)
	d := object{}
	version := "IPv4"
	if e.Target.IsValid() && e.Target.Addr().Is6() {
		version = "IPv6"
	}
	d.add("attack_uuid", e.ID)
	d.add("host_group", group(e.HostGroup))
	d.add("protocol_version", version)
	bytes := func(r sdk.CounterRate) uint64 { return truncate(r.BPS / 8) }
	d.add("total_incoming_traffic", bytes(in("total")))
	d.add("total_incoming_traffic_bits", truncate(in("total").BPS))
	d.add("total_outgoing_traffic", bytes(out("total")))
	d.add("total_outgoing_traffic_bits", truncate(out("total").BPS))
	d.add("total_incoming_pps", truncate(in("total").PPS))
	d.add("total_outgoing_pps", truncate(out("total").PPS))
	d.add("total_incoming_flows", truncate(e.Flows[0]))
	d.add("total_outgoing_flows", truncate(e.Flows[1]))
	for _, c := range documented {
		i, o := in(c.counter), out(c.counter)
		d.add("incoming_"+c.name+"_traffic", bytes(i))
		d.add("incoming_"+c.name+"_traffic_bits", truncate(i.BPS))
		d.add("outgoing_"+c.name+"_traffic", bytes(o))
		d.add("outgoing_"+c.name+"_traffic_bits", truncate(o.BPS))
		d.add("incoming_"+c.name+"_pps", truncate(i.PPS))
		d.add("outgoing_"+c.name+"_pps", truncate(o.PPS))
	}
	scope := e.Scope
	if scope == "" {
		scope = "host"
	}
	all := object{}
	all.add("alert_scope", scope)
	all.add("ip", sdk.TargetText(e.Target))
	all.add("action", action)
	all.add("attack_details", d)
	if e.Evidence != nil {
		if packets := documentPackets(e.Evidence.Dump); len(packets) > 0 {
			all.add("packet_dump_detailed", packets)
		}
	}
	return json.Marshal(all)
}

// documented are the counters of a document in its order.
var documented = []struct{ name, counter string }{
	{"dropped", "dropped"}, {"ip_fragmented", "fragmented"}, {"tcp", "tcp"}, {"syn_tcp", "tcp_syn"}, {"udp", "udp"}, {"icmp", "icmp"},
}

// group is the original's name of the group that there always is.
func group(name string) string {
	if name == "" || name == "default" {
		return "global"
	}
	return name
}

func documentPackets(samples []sdk.Sample) (out []json.RawMessage) {
	for i := range samples {
		r, ok := samples[i].Packet()
		if !ok {
			continue
		}
		out = append(out, AppendPacket(nil, &r, samples[i].Time, samples[i].Exporter))
	}
	return out
}

// AppendPacket appends a packet as the original's JSON documents and Kafka
// messages have it: packets and octets as they were sampled. agent is who told of
// it, "" where nobody did.
func AppendPacket(b []byte, r *traffic.Record, at time.Time, agent string) []byte {
	version, protocol, forwarding := "ipv4", "unknown", "unknown"
	if r.DstAddr().Is6() {
		version = "ipv6"
	}
	switch r.Protocol {
	case traffic.ProtoICMP:
		protocol = "icmp"
	case traffic.ProtoTCP:
		protocol = "tcp"
	case traffic.ProtoUDP:
		protocol = "udp"
	}
	if r.Marks&traffic.MarkDropped != 0 {
		forwarding = "dropped"
	}
	text := func(name, value string) {
		b = append(append(append(append(append(b, ",\""...), name...), "\":\""...), value...), '"')
	}
	number := func(name string, value uint64) {
		b = strconv.AppendUint(append(append(append(b, ",\""...), name...), "\":"...), value, 10)
	}
	b = strconv.AppendInt(append(b, "{\"timestamp\":"...), at.Unix(), 10)
	text("ip_version", version)
	b = append(r.SrcAddr().AppendTo(append(b, ",\"source_ip\":\""...)), '"')
	b = append(r.DstAddr().AppendTo(append(b, ",\"destination_ip\":\""...)), '"')
	number("source_asn", uint64(r.SrcAS))
	number("destination_asn", uint64(r.DstAS))
	text("source_country", "")
	text("destination_country", "")
	number("input_interface", uint64(r.InIf))
	number("output_interface", uint64(r.OutIf))
	if r.Protocol == traffic.ProtoTCP || r.Protocol == traffic.ProtoUDP {
		number("source_port", uint64(r.SrcPort))
		number("destination_port", uint64(r.DstPort))
	}
	quoted, _ := json.Marshal(agent) // of a text it never fails
	b = append(append(b, ",\"agent_address\":"...), quoted...)
	if r.Protocol == traffic.ProtoTCP {
		text("tcp_flags", traffic.FlagNames(r.TCPFlags&^(traffic.FlagECE|traffic.FlagCWR)))
	}
	packets, octets := Unscaled(r)
	text("forwarding_status", forwarding)
	b = strconv.AppendBool(append(b, ",\"fragmentation\":"...), r.Marks&traffic.MarkFragment != 0)
	number("packets", packets)
	number("length", octets)
	number("ip_length", octets)
	number("ttl", uint64(r.TTL))
	number("sample_ratio", uint64(max(1, r.Sampling)))
	text("protocol", protocol)
	return append(b, '}')
}

// object is a JSON object that keeps the order of its fields.
type object []field

type field struct {
	name  string
	value any
}

func (o *object) add(name string, value any) { *o = append(*o, field{name, value}) }

// MarshalJSON writes the fields in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

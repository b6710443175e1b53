//go:build ndpi

package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type config struct {
	MinShare float64 `hcl:"min_share,optional" doc:"share of the packets that must be answers of one service for the attack to be called a reflection of it, 0.1 to 1"`
}

const (
	// maxFlows bounds the conversations that are looked at a time, a kilobyte
	// or two each in the library.
	maxFlows = 1000
	// maxPerFlow is how many packets of one help the library.
	maxPerFlow = 8
	// listed is from which share on a protocol is told of, most how many are.
	listed = 0.05
	most   = 8
	// askedShare is how much of a host's own UDP, measured by what it gets, says
	// that it has asked for the answers: a resolver is no victim.
	askedShare = 0.3
)

// inspector judges the sampled packets of attacks.
type inspector struct {
	config
	dpi *dpi
}

func newInspector(c config) (*inspector, error) { return &inspector{config: c}, nil }

// Validate refuses what no attack has.
func (x *inspector) Validate(context.Context) error {
	if x.MinShare >= 0.1 && x.MinShare <= 1 {
		return nil
	}
	return diag.Diagnostics{diag.Errorf(diag.Path{}.Attr("min_share"), "Number out of range", "min_share takes 0.1 to 1; 0.5 is the original FastNetMon's.")}
}

// Start makes the library ready.
func (x *inspector) Start(context.Context) error {
	d, err := openDPI()
	x.dpi = d
	return err
}

// datagram is one packet that was looked at.
type datagram struct {
	weight  float64 // packets that it stands for
	udp     bool
	port    uint16 // source
	payload []byte
	flow    int
}

type flowKey struct {
	src, dst     netip.Addr
	sport, dport uint16
	protocol     uint8
}

// view is an attack's packets, as far as they are there.
type view struct {
	packets   []datagram
	fragments float64 // later ones, which have no ports and no beginning
	flows     map[flowKey]int
	talks     []*conversation
	looked    []int // packets of each
}

// Inspect tells of which protocols an attack's packets are and, where enough of
// them are answers of one service that the target has not asked for, names that.
func (x *inspector) Inspect(ctx context.Context, e sdk.Evidence) ([]sdk.Finding, error) {
	x.dpi.mu.Lock()
	defer x.dpi.mu.Unlock()
	v := view{flows: map[flowKey]int{}}
	var parser traffic.Parser
	for i := range e.Frames {
		if ctx.Err() != nil {
			break // what was seen so far is told
		}
		x.take(&v, &parser, &e.Frames[i])
	}
	protocols := make([]uint16, len(v.talks))
	for i, c := range v.talks {
		protocols[i] = x.dpi.end(c)
	}
	return x.judge(&e.Event, &v, protocols), nil
}

// take looks at one sample. What makes no sense is left out.
func (x *inspector) take(v *view, parser *traffic.Parser, s *sdk.Sample) {
	var r traffic.Record
	if len(s.Data) == 0 || parser.Frame(&r, traffic.LinkType(s.Link), s.Data, max(s.WireLen, len(s.Data))) != traffic.OK {
		return
	}
	weight := 1.0
	if told, ok := s.Packet(); ok && told.Packets > 0 {
		weight = float64(told.Packets)
	}
	if r.Marks&traffic.MarkLater != 0 {
		v.fragments += weight
		return
	}
	ip, payload := decode(s)
	if ip == nil {
		return
	}
	key := flowKey{r.SrcAddr(), r.DstAddr(), r.SrcPort, r.DstPort, r.Protocol}
	flow, ok := v.flows[key]
	if !ok {
		flow = -1
		if len(v.talks) < maxFlows {
			if c := x.dpi.begin(); c != nil {
				flow = len(v.talks)
				v.talks, v.looked = append(v.talks, c), append(v.looked, 0)
				v.flows[key] = flow
			}
		}
	}
	if flow >= 0 && v.looked[flow] < maxPerFlow {
		v.looked[flow]++
		x.dpi.look(v.talks[flow], ip)
	}
	v.packets = append(v.packets, datagram{weight, r.Protocol == traffic.ProtoUDP, r.SrcPort, payload, flow})
}

// decode finds the IP packet of a frame, and what its UDP datagram carries. A
// frame that makes no sense gives nothing: the decoder recovers from panics.
func decode(s *sdk.Sample) (ip, payload []byte) {
	data, decoder := s.Data, gopacket.Decoder(layers.LinkType(uint8(s.Link)))
	if traffic.LinkType(s.Link) == traffic.LinkSLL2 && len(data) >= sll2Header { // the library does not know it
		data, decoder = data[sll2Header:], layers.EthernetType(binary.BigEndian.Uint16(data))
	}
	p := gopacket.NewPacket(data, decoder, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	network := p.NetworkLayer()
	if network == nil {
		return nil, nil
	}
	head, body := network.LayerContents(), network.LayerPayload()
	ip = append(append(make([]byte, 0, len(head)+len(body)), head...), body...)
	if network.LayerType() == layers.LayerTypeIPv4 {
		return ip, behind(body)
	}
	return ip, behind(transport6(ip))
}

// sll2Header is the length of LINKTYPE_LINUX_SLL2's header, which begins with the
// protocol, an EtherType.
const sll2Header = 20

// behind is what stands behind a UDP header, also in a first fragment.
func behind(udp []byte) []byte { return udp[min(8, len(udp)):] }

// transport6 passes the extension headers of IPv6 that others put before UDP
// (RFC 8200 4).
func transport6(ip []byte) []byte {
	const header = 40
	if len(ip) < header {
		return nil
	}
	next, rest := ip[6], ip[header:]
	for range 8 {
		size := 8
		switch next {
		case 0, 43, 60: // hop by hop, routing, destination options
			if len(rest) >= 2 {
				size = 8 + 8*int(rest[1])
			}
		case 44: // fragment
		default:
			return rest
		}
		if len(rest) < size {
			return nil
		}
		next, rest = rest[0], rest[size:]
	}
	return nil
}

// judge makes findings of what was seen.
func (x *inspector) judge(e *sdk.Event, v *view, protocols []uint16) []sdk.Finding {
	total := 0.0
	byProtocol := map[string]float64{}
	answers, sure := make([]float64, len(rules)), make([]float64, len(rules))
	for i := range v.packets {
		d := &v.packets[i]
		total += d.weight
		name := ""
		if d.flow >= 0 && protocols[d.flow] != unknown {
			name = x.dpi.name(protocols[d.flow])
		}
		byProtocol[name] += d.weight
		if !d.udp {
			continue
		}
		if rule, certain := ruleOf(d.port, d.payload, name); rule >= 0 {
			answers[rule] += d.weight
			if certain {
				sure[rule] += d.weight
			}
		}
	}
	if total == 0 {
		return nil
	}
	out := x.listProtocols(byProtocol, total, v.fragments)
	for i := range rules {
		share := answers[i] / total
		if share < x.MinShare {
			continue
		}
		f := sdk.Finding{Label: rules[i].label, Confidence: 0.8 * share, Detail: fmt.Sprintf("%.0f %% of the packets are answers from UDP port %s", 100*share, rules[i].from())}
		if confirmed := sure[i] / answers[i]; confirmed >= 0.5 {
			f.Confidence = 0.95 * share
			f.Detail += fmt.Sprintf(", %.0f %% of these by nDPI", 100*confirmed)
		}
		if ratio := asked(e); ratio >= askedShare {
			f.Label, f.Confidence = "", 0
			f.Detail += fmt.Sprintf("; the target sends %.2g times as many UDP packets, so it has asked for them", ratio)
		}
		out = append(out, f)
	}
	return out
}

// asked is how much UDP goes the other way, by what the attack has.
func asked(e *sdk.Event) float64 {
	to, from := e.Incoming, e.Outgoing
	if e.Direction == "outgoing" {
		to, from = from, to
	}
	rate := func(list []sdk.CounterRate) float64 {
		if i := slices.IndexFunc(list, func(r sdk.CounterRate) bool { return r.Counter == "udp" }); i >= 0 {
			return list[i].PPS
		}
		return 0
	}
	if rate(to) <= 0 {
		return 0
	}
	return rate(from) / rate(to)
}

// listProtocols tells the most common protocols, each with its share. They name
// no attack.
func (x *inspector) listProtocols(by map[string]float64, total, fragments float64) (out []sdk.Finding) {
	names := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		share := by[name] / total
		if name == "" || share < listed || len(out) == most {
			continue
		}
		out = append(out, sdk.Finding{Confidence: share, Detail: fmt.Sprintf("%s: %.0f %% of the packets (nDPI %s)", name, 100*share, library())})
	}
	if share := by[""] / total; share >= listed {
		out = append(out, sdk.Finding{Confidence: share, Detail: fmt.Sprintf("%.0f %% of the packets are of no protocol that nDPI %s recognizes", 100*share, library())})
	}
	if share := fragments / (fragments + total); share >= listed {
		out = append(out, sdk.Finding{Confidence: share, Detail: fmt.Sprintf("%.0f %% of all packets are later fragments, which nDPI does not look at", 100*share)})
	}
	return out
}

package traffic

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Tunnel is a way to carry packets inside packets.
type Tunnel uint8

// The kinds of tunnel.
const (
	TunnelGRE    Tunnel = iota // RFC 2784, 2890, 7637 and PPTP's (RFC 2637): IP, Ethernet, MPLS, PPP or NSH inside
	TunnelERSPAN               // in GRE, types I, II and III
	TunnelIPIP                 // IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, 2473, 4213)
	TunnelVXLAN                // RFC 7348, and with other protocols inside (draft-ietf-nvo3-vxlan-gpe)
	TunnelGeneve               // RFC 8926
	TunnelGTP                  // GTP-U version 1 (3GPP TS 29.281)
	TunnelL2TP                 // versions 2 (RFC 2661) and 3 (RFC 3931), over UDP and IP

	tunnels = int(TunnelL2TP) + 1
)

var tunnelNames = [tunnels]string{"gre", "erspan", "ipip", "vxlan", "geneve", "gtp", "l2tp"}

func (t Tunnel) String() string { return tunnelNames[t] }

// Decapsulation says which packet of a tunnel counts.
type Decapsulation uint8

// What counts.
const (
	Outer Decapsulation = iota // the packet that carries
	Inner                      // the packet inside; where it cannot be read, the one that carries
	Both                       // each by itself
)

var decapsulations = []string{"outer", "inner", "both"}

// MaxTunnels is how many packets and frames around a packet are looked into.
const MaxTunnels = 4

// Decapsulate sets what counts of a kind of tunnel. It is not safe beside other
// calls.
func (p *Parser) Decapsulate(kind Tunnel, how Decapsulation) {
	bit := uint8(1) << kind
	p.inner, p.both = p.inner&^bit, p.both&^bit
	switch how {
	case Inner:
		p.inner |= bit
	case Both:
		p.both |= bit
	}
	p.into = p.inner | p.both
}

// All is the name under which DecapsulateBy knows all kinds of tunnel that it
// is not told of by themselves.
const All = "all"

// DecapsulateBy sets what counts by names, as configurations have them: "gre",
// "erspan", "ipip", "vxlan", "geneve", "gtp", "l2tp" or "all", to "outer",
// "inner" or "both". Where one is wrong it returns the key and why.
func (p *Parser) DecapsulateBy(names map[string]string) (key string, err error) {
	keys := slices.Sorted(maps.Keys(names))
	if _, ok := names[All]; ok { // the others go beyond it
		keys = append([]string{All}, slices.DeleteFunc(keys, func(k string) bool { return k == All })...)
	}
	for _, key := range keys {
		how := slices.Index(decapsulations, names[key])
		if how < 0 {
			return key, fmt.Errorf(`%q is none of "outer", "inner" and "both"`, names[key])
		}
		kind := slices.Index(tunnelNames[:], key)
		switch {
		case key == All:
			for t := range tunnels {
				p.Decapsulate(Tunnel(t), Decapsulation(how))
			}
		case kind < 0:
			return key, fmt.Errorf("%q is no kind of tunnel: there are %s, and %q for all others", key, strings.Join(tunnelNames[:], ", "), All)
		default:
			p.Decapsulate(Tunnel(kind), Decapsulation(how))
		}
	}
	return "", nil
}

// Several reports whether a frame may give several records: More then has the
// others.
func (p *Parser) Several() bool { return p.both != 0 }

// Decapsulates reports whether a frame may give the record of a packet inside
// a tunnel.
func (p *Parser) Decapsulates() bool { return p.into != 0 }

// more collects inner packets.
type more struct {
	to []Record
	n  int
}

// More gives the packets inside a frame that count besides the one that Frame
// gives, at most len(to), and returns how many. At most MaxTunnels are.
func (p *Parser) More(to []Record, link LinkType, frame []byte, wire int) int {
	m := more{to: to}
	w := &walk{more: &m}
	wire = max(wire, len(frame))
	var r Record
	switch {
	case link != LinkEthernet:
		p.frame(&r, link, frame, wire, w)
	case len(frame) >= etherHeader:
		p.ether(&r, frame, etherHeader, wire, binary.BigEndian.Uint16(frame[12:]), w)
	}
	return m.n
}

// Carried makes a packet that More gave a record like that of the packet it was
// in, or that Frame gave: sampled alike, seen by the same exporter at the same
// interfaces and time. What is known of the outer packet's route is not the
// inner one's.
func (r *Record) Carried(in *Record) {
	if over, n := bits.Mul64(r.Bytes, in.Packets); over == 0 {
		r.Bytes = n
	} else {
		r.Bytes = math.MaxUint64
	}
	r.Packets, r.Sampling = in.Packets, in.Sampling
	r.Time, r.Exporter, r.InIf, r.OutIf = in.Time, in.Exporter, in.InIf, in.OutIf
	r.Marks |= in.Marks & MarkDropped
}

// UDP ports of tunnels (IANA; 8472 is what Linux had before).
const (
	portL2TP     = 1701
	portGTP      = 2152
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portGeneve   = 6081
	portVXLANOld = 8472
)

// IP protocols of tunnels, and protocols in GRE.
const (
	protoIPv4 = 4
	protoIPv6 = 41
	protoL2TP = 115

	greERSPAN  = 0x88be // types I and II
	greERSPAN3 = 0x22eb
	grePPP     = 0x880b
)

// tunnel looks into the packet of the record r, whose payload begins at off in
// the frame. If what is inside counts in its place, r becomes that.
func (p *Parser) tunnel(r *Record, frame []byte, off, wire int, vlan uint16, w *walk) {
	within := w.state()
	if r.Marks&MarkLater != 0 || within.level == MaxTunnels {
		return
	}
	kind, ok := tunnelOf(r, frame[off:])
	if !ok {
		return
	}
	bit := uint8(1) << kind
	if p.inner&bit == 0 && (p.both&bit == 0 || within.more == nil) {
		return
	}
	var in Record
	within.level++
	within.vlan = vlan
	if p.enter(&in, kind, r.Protocol, frame, off, wire, vlan, &within) != OK {
		return
	}
	if p.inner&bit != 0 {
		*r = in
	} else if m := within.more; m.n < len(m.to) {
		m.to[m.n] = in
		m.n++
	}
}

// tunnelOf tells the kind of tunnel whose header begins b.
func tunnelOf(r *Record, b []byte) (Tunnel, bool) {
	switch r.Protocol {
	case ProtoUDP:
		switch r.DstPort {
		case portVXLAN, portVXLANGPE, portVXLANOld:
			return TunnelVXLAN, true
		case portGeneve:
			return TunnelGeneve, true
		}
		if r.DstPort == portGTP || r.SrcPort == portGTP {
			return TunnelGTP, true
		}
		return TunnelL2TP, r.DstPort == portL2TP || r.SrcPort == portL2TP
	case ProtoGRE:
		if len(b) >= 4 {
			if kind := binary.BigEndian.Uint16(b[2:]); kind == greERSPAN || kind == greERSPAN3 {
				return TunnelERSPAN, true
			}
		}
		return TunnelGRE, true
	case protoIPv4, protoIPv6:
		return TunnelIPIP, true
	case protoL2TP:
		return TunnelL2TP, true
	}
	return 0, false
}

// enter reads what is inside a tunnel whose header begins at off.
func (p *Parser) enter(r *Record, kind Tunnel, protocol uint8, frame []byte, off, wire int, vlan uint16, w *walk) Outcome {
	if protocol == ProtoUDP {
		off += 8
	}
	switch kind {
	case TunnelIPIP:
		if protocol == protoIPv4 {
			return p.ipv4(r, frame, off, wire, vlan, w)
		}
		return p.ipv6(r, frame, off, wire, vlan, w)
	case TunnelVXLAN:
		return p.vxlan(r, frame, off, wire, vlan, w)
	case TunnelGeneve:
		return p.geneve(r, frame, off, wire, vlan, w)
	case TunnelGTP:
		return p.gtp(r, frame, off, wire, vlan, w)
	case TunnelL2TP:
		return p.l2tp(r, protocol, frame, off, wire, vlan, w)
	default:
		return p.gre(r, frame, off, wire, vlan, w)
	}
}

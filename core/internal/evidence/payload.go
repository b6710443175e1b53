package evidence

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// udpPayload is what a sample's UDP datagram carries, as far as it is there. A
// frame that makes no sense gives nothing: the decoder recovers from panics.
func udpPayload(s *sdk.Sample, r *traffic.Record) []byte {
	if r.Protocol != traffic.ProtoUDP || len(s.Data) == 0 {
		return nil
	}
	data, decoder := s.Data, layerOf(s.Link)
	if traffic.LinkType(s.Link) == traffic.LinkSLL2 && len(data) >= sll2Header { // the library does not know it
		data, decoder = data[sll2Header:], layers.EthernetType(binary.BigEndian.Uint16(data))
	}
	p := gopacket.NewPacket(data, decoder, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		return u.Payload
	}
	return nil
}

// sll2Header is the length of LINKTYPE_LINUX_SLL2's header, which begins with the
// protocol, an EtherType.
const sll2Header = 20

func layerOf(link int) gopacket.Decoder {
	switch traffic.LinkType(link) {
	case traffic.LinkRaw, traffic.LinkRawBSD, traffic.LinkRawOBSD:
		return layers.LinkTypeRaw
	case traffic.LinkIPv4:
		return layers.LayerTypeIPv4
	case traffic.LinkIPv6:
		return layers.LayerTypeIPv6
	case traffic.LinkSLL:
		return layers.LinkTypeLinuxSLL
	case traffic.LinkNull, traffic.LinkLoop:
		return layers.LinkTypeNull
	case traffic.LinkPPP:
		return layers.LinkTypePPP
	case traffic.LinkMPLS:
		return layers.LayerTypeMPLS
	}
	return layers.LinkTypeEthernet
}

package evidence

import (
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
	p := gopacket.NewPacket(s.Data, layerOf(s.Link), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	if u, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		return u.Payload
	}
	return nil
}

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

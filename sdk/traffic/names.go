package traffic

import (
	"strconv"
	"strings"
)

// protocolNames are the keywords of IANA's registry of protocol numbers, from
// 0 on, in lower case; - where there is none.
var protocolNames = strings.Fields(`
hopopt icmp igmp ggp ipv4 st tcp cbt egp igp bbn-rcc-mon nvp-ii pup argus emcon xnet chaos udp mux dcn-meas
hmp prm xns-idp trunk-1 trunk-2 leaf-1 leaf-2 rdp irtp iso-tp4 netblt mfe-nsp merit-inp dccp 3pc idpr xtp ddp idpr-cmtp tp++
il ipv6 sdrp ipv6-route ipv6-frag idrp rsvp gre dsr bna esp ah i-nlsp swipe narp mobile tlsp skip ipv6-icmp ipv6-nonxt
ipv6-opts - cftp - sat-expak kryptolan rvd ippc - sat-mon visa ipcv cpnx cphb wsn pvp br-sat-mon sun-nd wb-mon wb-expak
iso-ip vmtp secure-vmtp vines ttp nsfnet-igp dgp tcf eigrp ospfigp sprite-rpc larp mtp ax.25 ipip micp scc-sp etherip encap -
gmtp ifmp pnni pim aris scps qnx a/n ipcomp snp compaq-peer ipx-in-ip vrrp pgm - l2tp ddx iatp stp srp
uti smp sm ptp isis fire crtp crudp sscopmce iplt sps pipe sctp fc rsvp-e2e-ignore - udplite mpls-in-ip manet hip shim6
wesp rohc ethernet`)

// ProtocolName is the IANA keyword of an IP protocol in lower case, or its
// number.
func ProtocolName(protocol uint8) string {
	if n := int(protocol); n < len(protocolNames) && protocolNames[n] != "-" {
		return protocolNames[n]
	}
	return strconv.Itoa(int(protocol))
}

// FlagNames lists TCP flags as reports do: "syn,ack", in the order fin, syn,
// rst, psh, ack, urg, ece, cwr; "-" where none is set.
func FlagNames(flags uint8) string {
	var b []byte
	for i, name := range [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} {
		if flags>>i&1 == 0 {
			continue
		}
		if b != nil {
			b = append(b, ',')
		}
		b = append(b, name...)
	}
	if b == nil {
		return "-"
	}
	return string(b)
}

package main

// The slots of a template: where in a record the fields lie that counting
// needs. Hot slots are read for every record, the others only where the
// template has them. Element numbers are those of the IANA registry of IPFIX
// information elements, which keep the NetFlow v9 field types (RFC 3954 8,
// RFC 7012).
const (
	hotPackets = iota
	hotOctets
	hotSrc4
	hotDst4
	hotSrcPort
	hotDstPort
	hotProtocol
	hotFlags
	hotToS
	hotInIf
	hotOutIf
	hotStart
	hotEnd
	hotSampler
	hotSrcAS // these three only where the template has one of them
	hotDstAS
	hotHop4
	hotVLAN // and these
	hotTTL
	hotForwarding
	hotSlots
)

const (
	slowOutPackets = iota
	slowOutOctets
	slowReversePackets
	slowReverseOctets
	slowReverseFlags
	slowICMP
	slowICMPType
	slowICMPCode
	slowFragmentOffset
	slowFragmentFlags
	slowDirection
	slowRate
	slowInterval
	slowSpace
	slowObserved
	slowSelected
	slowNATEvent
	slowFirewallEvent
	slowDuration
	slowSystemInit
	slowFlowID
	slowUDPSrc
	slowUDPDst
	slowTCPSrc
	slowTCPDst
	slowFrameSize
	slowSectionSize
	slowSectionOffset
	slowFrameType
	slowStation
	slowSlots
)

// Bits of template.has: one for each slow slot, and these.
const (
	hasHot2    = 1 << (slowSlots + iota) // hotSrcAS, hotDstAS or hotHop4
	hasHot3                              // hotVLAN, hotTTL or hotForwarding
	hasIPv4                              // an IPv4 address
	hasIPv6                              // an IPv6 address
	hasTotals                            // counters that are never reset (85, 86)
	hasMicros                            // slowDuration is in microseconds
	hasPackets                           // any counter of packets
	hasOctets                            // any counter of octets
	hasPair4                             // both IPv4 addresses, no IPv6 one
	hasSrc6
	hasDst6
	hasHop6
	plain // the hot slots are all that matters, but for odd records
)

// The quiet slots: hardly a record has anything in them.
const (
	quietFragmentOffset = iota
	quietFragmentFlags
	quietSlots
)

// oddOnly are the slow slots that matter in odd records only: direction says
// something only where somebody has asked for one, the rest only of ICMP,
// fragments and records without packets or octets.
const oddOnly = 1<<slowDirection | 1<<slowICMP | 1<<slowICMPType | 1<<slowICMPCode | 1<<slowFragmentOffset | 1<<slowFragmentFlags |
	1<<slowOutPackets | 1<<slowOutOctets | 1<<slowNATEvent | 1<<slowFirewallEvent

// Time formats of the slots hotStart and hotEnd.
const (
	timeNone   = iota
	timeUptime // milliseconds since the exporter has booted
	timeMillis // since the Unix epoch; what follows takes more work
	timeSeconds
	timeMicros // NTP format (RFC 7011 6.1.9); some send microseconds since the epoch
	timeNanos  // NTP format (RFC 7011 6.1.10); some send nanoseconds since the epoch
	timeDelta  // microseconds before the export time
)

// penReverse is the enterprise number under which elements of the way back
// stand (RFC 5103).
const penReverse = 29305

// choice is one element that can fill a slot. Of several in a template the
// first choice wins; of the same element twice the first field does.
type choice struct {
	slot uint8
	rank uint8 // lower is better
	max  uint8 // longest encoding in octets
}

// knownElements is above the number of every element that is read, but for
// firewallEventASA.
const knownElements = 512

// firewallEventASA is what older Cisco ASA send in place of 233.
const firewallEventASA = 40005

// elements tells which slot an element can fill; none where max is 0.
type elements [knownElements]choice

// find returns the choice of an element.
func (e *elements) find(id uint16) (choice, bool) {
	if id >= knownElements {
		return choice{}, false
	}
	return e[id], e[id].max > 0
}

// hotElements are the elements for hot slots.
var hotElements = elements{
	2:   {hotPackets, 0, 8}, // packetDeltaCount
	86:  {hotPackets, 1, 8}, // packetTotalCount
	298: {hotPackets, 2, 8}, // initiatorPackets
	24:  {hotPackets, 3, 8}, // postPacketDeltaCount
	1:   {hotOctets, 0, 8},  // octetDeltaCount
	85:  {hotOctets, 1, 8},  // octetTotalCount
	231: {hotOctets, 2, 8},  // initiatorOctets
	23:  {hotOctets, 3, 8},  // postOctetDeltaCount
	352: {hotOctets, 4, 8},  // layer2OctetDeltaCount
	8:   {hotSrc4, 0, 4},
	12:  {hotDst4, 0, 4},
	7:   {hotSrcPort, 0, 2},
	11:  {hotDstPort, 0, 2},
	4:   {hotProtocol, 0, 1},
	193: {hotProtocol, 1, 1}, // nextHeaderIPv6
	6:   {hotFlags, 0, 2},
	5:   {hotToS, 0, 1},
	10:  {hotInIf, 0, 4},
	252: {hotInIf, 1, 4}, // ingressPhysicalInterface
	14:  {hotOutIf, 0, 4},
	253: {hotOutIf, 1, 4}, // egressPhysicalInterface
	16:  {hotSrcAS, 0, 4},
	17:  {hotDstAS, 0, 4},
	15:  {hotHop4, 0, 4},
	18:  {hotHop4, 1, 4}, // bgpNextHopIPv4Address
	58:  {hotVLAN, 0, 2},
	243: {hotVLAN, 1, 2}, // dot1qVlanId
	192: {hotTTL, 0, 1},
	52:  {hotTTL, 1, 1}, // minimumTTL
	53:  {hotTTL, 2, 1}, // maximumTTL
	89:  {hotForwarding, 0, 4},
	48:  {hotSampler, 0, 4},
	302: {hotSampler, 1, 8}, // selectorId
}

// timeElements are the pairs of elements for hotStart and hotEnd, the best
// first.
var timeElements = [...]struct {
	start, end uint16
	format     uint8
}{
	{152, 153, timeMillis},
	{156, 157, timeNanos},
	{154, 155, timeMicros},
	{150, 151, timeSeconds},
	{158, 159, timeDelta},
	{22, 21, timeUptime},
	{152, 323, timeMillis}, // Cisco ASA: start and time of the event
}

// slowElements are the elements for the other slots.
var slowElements = elements{
	24:  {slowOutPackets, 0, 8},
	23:  {slowOutOctets, 0, 8},
	299: {slowReversePackets, 0, 8}, // responderPackets
	232: {slowReverseOctets, 0, 8},  // responderOctets
	32:  {slowICMP, 0, 2},
	139: {slowICMP, 1, 2},
	176: {slowICMPType, 0, 1},
	178: {slowICMPType, 1, 1},
	177: {slowICMPCode, 0, 1},
	179: {slowICMPCode, 1, 1},
	88:  {slowFragmentOffset, 0, 2},
	197: {slowFragmentFlags, 0, 1},
	61:  {slowDirection, 0, 1},
	34:  {slowRate, 0, 4},
	50:  {slowRate, 1, 4}, // samplerRandomInterval
	305: {slowInterval, 0, 4},
	306: {slowSpace, 0, 4},
	318: {slowObserved, 0, 8},
	319: {slowSelected, 0, 8},
	230: {slowNATEvent, 0, 1},
	233: {slowFirewallEvent, 0, 1},
	161: {slowDuration, 0, 4}, // milliseconds
	162: {slowDuration, 1, 4}, // microseconds
	160: {slowSystemInit, 0, 8},
	148: {slowFlowID, 0, 8},
	180: {slowUDPSrc, 0, 2},
	181: {slowUDPDst, 0, 2},
	182: {slowTCPSrc, 0, 2},
	183: {slowTCPDst, 0, 2},
	312: {slowFrameSize, 0, 4},
	103: {slowSectionSize, 0, 4},
	102: {slowSectionOffset, 0, 4},
	409: {slowSectionOffset, 1, 4},
	410: {slowSectionSize, 1, 4},
	408: {slowFrameType, 0, 2},
	366: {slowStation, 0, 4}, // staIPv4Address: a wireless station, alone in its record
}

// reverseElements are those of the way back (RFC 5103).
var reverseElements = elements{
	2:  {slowReversePackets, 1, 8},
	86: {slowReversePackets, 2, 8},
	1:  {slowReverseOctets, 1, 8},
	85: {slowReverseOctets, 2, 8},
	6:  {slowReverseFlags, 0, 2},
}

// Elements that hold the beginning of a packet.
const (
	sectionNone     = 0
	sectionEthernet = 1 // 104 layer2packetSectionData, 315 dataLinkFrameSection
	sectionIP       = 2 // 313 ipHeaderPacketSection
)

func sectionKind(pen uint32, id uint16) uint8 {
	switch {
	case pen != 0:
		return sectionNone
	case id == 104 || id == 315:
		return sectionEthernet
	case id == 313:
		return sectionIP
	}
	return sectionNone
}

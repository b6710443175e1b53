package sdk

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// EvidenceReport is what is known of an attack's packets, from a sample of
// them: packets, sampled packets or flow records. Shares are of the packets
// that the sample stands for, sampling applied.
type EvidenceReport struct {
	Samples  int       // records that were looked at
	Frames   int       // of them with octets: these are in PCAP
	Flows    int       // of them flow records
	Before   int       // of them seen before the attack was
	Packets  uint64    // what they stand for
	Bytes    uint64    // octets by the IP header
	Complete bool      // nothing more is waited for
	First    time.Time // of the samples
	Last     time.Time

	Basis   string      // what Label is known from: "packets", "flows" or "counters"
	Reasons []string    // why Label is what it is, a line each
	Parts   []LabelPart // of a mixed attack, the largest first

	Tops          []Top   // sources, source_ports, …
	SourceEntropy float64 // of the source addresses: 0 one source, 1 each packet from another
	Spoofed       string  // whether sources look forged: "likely", "unlikely" or "unknown"
	Timeline      []TimelinePoint
	Findings      []Finding // of Inspectors

	PCAP     string   // path of the capture file, "" if there is none
	Report   string   // path of the text report, likewise
	Problems []string // why something of the above is missing
	// Dump is the samples themselves, without their octets. It is not in the
	// event's JSON form.
	Dump []Sample
}

// LabelPart is one of several things that a mixed attack consists of.
type LabelPart struct {
	Label string  `json:"label"`
	Share float64 `json:"share"`
}

// Top is the most common values of one property of packets.
type Top struct {
	Name     string // "sources", "source_ports", "destination_ports", "protocols", "tcp_flags", "sizes", "ttls", "fragments", "exporters", "interfaces", "as", "countries"
	Distinct int    // different values
	AtLeast  bool   // there were more than could be told apart
	Rows     []TopRow
}

// TopRow is one value.
type TopRow struct {
	Value   string
	Packets uint64
	Bytes   uint64
	Share   float64 // of all packets
}

// TimelinePoint is the target's rate in one of the attack's first seconds.
type TimelinePoint struct {
	Second int     `json:"second"` // after the start
	PPS    float64 `json:"pps"`
	BPS    float64 `json:"bps"` // bits per second
}

// Evidence is what an Inspector judges.
type Evidence struct {
	Event  Event
	Frames []Sample
}

// MaxFrame is how many octets of a frame a Sample has at most.
const MaxFrame = 2048

// Sample is one captured frame or record of a target.
type Sample struct {
	Time     time.Time
	Link     int    // link type of Data (LINKTYPE_*)
	Data     []byte // the frame, at most MaxFrame octets of it; empty where there is only the record
	WireLen  int    // octets that the frame had on the wire
	Record   []byte // traffic.Record as it lies in memory; see Packet
	Exporter string // who told of it; "" where the capture saw it itself
	Before   bool   // seen before it was asked for
}

// Packet is the sample's record; false means that it has none.
func (s *Sample) Packet() (traffic.Record, bool) { return traffic.FromBytes(s.Record) }

// SampleRequest asks a capture for packets or flow records of a target.
type SampleRequest struct {
	Target    netip.Prefix
	Direction string        // "incoming": to the target; "outgoing": from it; "": both
	Limit     int           // samples at most; eight flow records count as one
	For       time.Duration // how long to watch; 0: until there are Limit
	Since     time.Time     // replay: nothing that was recorded earlier
}

package pipeline

import (
	"encoding/json"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Output is one thing a replay prints: an event, or at last the summary.
type Output struct {
	Event    *sdk.Event
	Finished *Summary
}

// Volume is an amount of traffic.
type Volume struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // octets by the IP header
}

func (v *Volume) add(o Volume) {
	v.Packets += o.Packets
	v.Bytes += o.Bytes
}

// Summary is replay.finished: what the replay read and what became of it.
// Packets and Bytes count every IP packet once, exempt ones too, scaled by its
// sampling rate.
type Summary struct {
	Time time.Time // of the clock when the last attack had ended
	Volume
	Directions map[string]Volume // incoming, outgoing, internal, other
	Families   map[string]Volume // ipv4, ipv6
	Protocols  map[string]Volume // tcp, udp, icmp, other
	Counters   map[string]Volume // built-in and user-defined, per host and direction added up
	Attacks    int
	Ledger     []sdk.LedgerRow
}

type ledgerJSON struct {
	Input    string            `json:"input"`
	Received uint64            `json:"received"`
	Used     uint64            `json:"used"`
	InFlight uint64            `json:"in_flight"`
	Dropped  map[string]uint64 `json:"dropped"`
}

// MarshalJSON gives the summary as the last line of "replay --json"; keys of
// maps are sorted, so the same input gives the same bytes.
func (s *Summary) MarshalJSON() ([]byte, error) {
	ledger := make([]ledgerJSON, 0, len(s.Ledger))
	for _, row := range s.Ledger {
		dropped := row.Dropped
		if dropped == nil {
			dropped = map[string]uint64{}
		}
		ledger = append(ledger, ledgerJSON{row.Input, row.Received, row.Used, row.InFlight, dropped})
	}
	return json.Marshal(struct {
		Event      sdk.EventType     `json:"event"`
		Time       string            `json:"time"`
		Packets    uint64            `json:"packets"`
		Bytes      uint64            `json:"bytes"`
		Attacks    int               `json:"attacks"`
		Directions map[string]Volume `json:"directions"`
		Families   map[string]Volume `json:"families"`
		Protocols  map[string]Volume `json:"protocols"`
		Counters   map[string]Volume `json:"counters"`
		Ledger     []ledgerJSON      `json:"ledger"`
	}{
		sdk.ReplayFinished, stamp(s.Time), s.Packets, s.Bytes, s.Attacks,
		s.Directions, s.Families, s.Protocols, s.Counters, ledger,
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

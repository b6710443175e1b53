package message

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Samples are events of each kind, with everything that an event can have, to
// try templates with: a start, an update with evidence, an end, a summary, and a
// mitigation that is held.
func Samples() []sdk.Event {
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	crossing := sdk.Crossing{
		Threshold: "flood", Scope: "host", Counter: "udp", Unit: "pps", Value: 131072.5, Limit: 20000,
		Window: 5 * time.Second, Rule: "average", At: at,
	}
	started := sdk.Event{
		Type: sdk.AttackStarted, ID: "0123456789abcdef", Seq: 1, Time: at, Started: at,
		Target: netip.MustParsePrefix("203.0.113.5/32"), Direction: "incoming", HostGroup: `the "default" one`, Network: "customers",
		Pipeline: "main", Mode: "enforce", Revision: "00000000000000aa",
		Crossing: crossing, AttackType: "udp_flood", Protocol: "udp", Crossed: []sdk.Crossing{crossing},
		PeakPPS: 131072.5, InitialPPS: 131072.5,
		Incoming: []sdk.CounterRate{{Counter: "total", PPS: 131072.5, BPS: 1.5e9}, {Counter: "udp", PPS: 131072.5, BPS: 1.5e9}},
		Outgoing: []sdk.CounterRate{{Counter: "total", PPS: 10, BPS: 8000}},
		Flows:    [2]float64{1000, 1},
	}
	updated := started
	updated.Type, updated.Seq, updated.Label, updated.Confidence = sdk.AttackUpdated, 2, "ntp_reflection", 0.97
	updated.Evidence = &sdk.EvidenceReport{
		Samples: 100, Frames: 100, Packets: 100, Bytes: 46800, Complete: true, First: at, Last: at.Add(time.Second), Basis: "packets",
		Reasons: []string{"97 % of the packets are from UDP port 123"}, Parts: []sdk.LabelPart{{Label: "ntp_reflection", Share: 0.97}},
		Tops: []sdk.Top{{Name: "sources", Distinct: 2, Rows: []sdk.TopRow{
			{Value: "198.51.100.7", Packets: 60, Bytes: 28080, Share: 0.6}, {Value: "198.51.100.8", Packets: 40, Bytes: 18720, Share: 0.4},
		}}},
		SourceEntropy: 0.4, Spoofed: "unlikely", Timeline: []sdk.TimelinePoint{{Second: 0, PPS: 131072.5, BPS: 1.5e9}},
		Findings: []sdk.Finding{{Label: "ntp_reflection", Confidence: 0.9, Detail: "answers to MON_GETLIST"}},
		PCAP:     "/var/lib/fastnetmon/evidence/0123456789abcdef.pcap", Report: "/var/lib/fastnetmon/evidence/0123456789abcdef.txt",
	}
	ended := updated
	ended.Type, ended.Seq, ended.Time = sdk.AttackEnded, 3, at.Add(5*time.Minute)
	many := started
	many.ID, many.Target, many.HostGroup, many.WouldHave, many.Mode = "fedcba9876543210", netip.Prefix{}, "", true, "monitor"
	many.Suspended = "the clock jumped"
	many.Summary = &sdk.Summary{Attacks: 12, Open: 10, Parts: []sdk.Part{{
		ID: started.ID, Target: started.Target, HostGroup: started.HostGroup, Threshold: "flood", AttackType: "udp_flood", PeakPPS: 131072.5, Started: at,
	}}}
	held := updated
	held.Type, held.Mitigation = sdk.MitigationChanged, &sdk.MitigationReport{
		ID: "00aa11bb22cc33dd", AttackID: started.ID, Target: started.Target, Direction: "incoming", HostGroup: started.HostGroup,
		Action: "action.gobgp.edge.blackhole", State: sdk.MitigationHeld, Cause: "11 mitigations would be in force, more than max_active = 10",
		Time: at.Add(time.Second), Requested: at, Announcements: []string{"203.0.113.5/32 next hop 192.0.2.66 communities 65535:666"},
	}
	return []sdk.Event{started, updated, ended, many, held}
}

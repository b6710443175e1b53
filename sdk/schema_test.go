package sdk_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/schema"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// everything is an event with every field set.
func everything() sdk.Event {
	e := sdktest.Event()
	e.Suspended, e.Lifted, e.Label, e.Confidence = "the clock jumped", true, "mixed", 0.9
	now := time.Unix(1700000000, 0)
	e.Evidence = &sdk.EvidenceReport{
		Samples: 100, Frames: 90, Flows: 1, Before: 2, Packets: 1000, Bytes: 2000, Complete: true, First: now, Last: now,
		Basis: "packets", Reasons: []string{"because"}, Parts: []sdk.LabelPart{{Label: "syn_flood", Share: 0.5}},
		Tops:          []sdk.Top{{Name: "sources", Distinct: 1, AtLeast: true, Rows: []sdk.TopRow{{Value: "198.51.100.1", Packets: 1, Bytes: 2, Share: 1}}}},
		SourceEntropy: 0.5, Spoofed: "likely", Timeline: []sdk.TimelinePoint{{Second: 1, PPS: 2, BPS: 3}},
		Findings: []sdk.Finding{{Label: "dns", Confidence: 0.5, Detail: "ANY"}}, PCAP: "/a.pcap", Report: "/a.txt", Problems: []string{"disk full"},
	}
	e.Summary = &sdk.Summary{Attacks: 5, Open: 4, Parts: []sdk.Part{{ID: "a", Target: e.Target, HostGroup: "g", Threshold: "flood", AttackType: "udp_flood", PeakPPS: 1, Started: now}}}
	e.Mitigation = &sdk.MitigationReport{
		ID: "m", AttackID: e.ID, Target: e.Target, Direction: e.Direction, HostGroup: "g", Action: "action.gobgp.edge.blackhole",
		State: sdk.MitigationActive, Cause: "because", Time: now, Requested: now, Expires: now, By: "root", Reason: "test",
		Announcements: []string{"203.0.113.5/32"}, Peers: []sdk.PeerStatus{{Peer: "192.0.2.1", State: sdk.MitigationActive, Cause: "established"}},
	}
	return e
}

// TestSchema holds the JSON form of events against the schema that is told to
// others: whoever removes a field of version 1 fails here.
func TestSchema(t *testing.T) {
	root, err := schema.Load(schema.Event)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	bare := sdktest.Event()
	bare.Evidence, bare.Seq = nil, 1
	for _, e := range []sdk.Event{everything(), bare} {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := root.Check("attack", b, "event")
		if err != nil {
			t.Errorf("%v\n%s", err, b)
		}
		maps.Copy(used, fields)
	}
	for _, part := range []struct{ at, def string }{{"event", "attack"}, {"event.evidence", "evidence"}, {"event.summary", "summary"}, {"event.mitigation", "mitigation"}, {"event.thresholds_crossed[0]", "crossing"}, {"event.evidence.tops.sources", "top"}} {
		for name := range root.Defs[part.def].Properties {
			if !used[part.at+"."+name] {
				t.Errorf("%s.%s is in the schema, and in no event", part.at, name)
			}
		}
	}
	if len(used) < 90 {
		t.Errorf("only %d fields were looked at", len(used))
	}
}

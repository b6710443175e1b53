package sdk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// schemaNode is as much of JSON Schema as schema/event-v1.json uses.
type schemaNode struct {
	Ref        string                 `json:"$ref"`
	Defs       map[string]*schemaNode `json:"$defs"`
	Type       any                    `json:"type"`
	Enum       []string               `json:"enum"`
	OneOf      []*schemaNode          `json:"oneOf"`
	Required   []string               `json:"required"`
	Properties map[string]*schemaNode `json:"properties"`
	Additional json.RawMessage        `json:"additionalProperties"`
	Items      *schemaNode            `json:"items"`
	Minimum    *float64               `json:"minimum"`
	Maximum    *float64               `json:"maximum"`
}

func loadSchema(t *testing.T) *schemaNode {
	t.Helper()
	b, err := os.ReadFile("schema/event-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schemaNode
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	return &root
}

// check holds a value against a node, and notes which properties it used.
func (root *schemaNode) check(n *schemaNode, v any, at string, used map[string]bool) error {
	if n.Ref != "" {
		name := strings.TrimPrefix(n.Ref, "#/$defs/")
		if root.Defs[name] == nil {
			return fmt.Errorf("%s: no definition %s", at, name)
		}
		return root.check(root.Defs[name], v, at, used)
	}
	if len(n.Enum) > 0 && !slices.Contains(n.Enum, fmt.Sprint(v)) {
		return fmt.Errorf("%s: %v is none of %q", at, v, n.Enum)
	}
	if n.Type != nil && !ofType(n.Type, v) {
		return fmt.Errorf("%s: %v is no %v", at, v, n.Type)
	}
	switch v := v.(type) {
	case float64:
		if n.Minimum != nil && v < *n.Minimum || n.Maximum != nil && v > *n.Maximum {
			return fmt.Errorf("%s: %v is out of bounds", at, v)
		}
	case []any:
		for i, x := range v {
			if err := root.check(n.Items, x, fmt.Sprintf("%s[%d]", at, i), used); err != nil {
				return err
			}
		}
	case map[string]any:
		return root.checkObject(n, v, at, used)
	}
	return nil
}

func (root *schemaNode) checkObject(n *schemaNode, v map[string]any, at string, used map[string]bool) error {
	for _, name := range n.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		p := n.Properties[name]
		used[at+"."+name] = true
		if p == nil {
			var more schemaNode
			if string(n.Additional) == "false" || json.Unmarshal(n.Additional, &more) != nil {
				return fmt.Errorf("%s: %s is not in the schema", at, name)
			}
			p = &more
		}
		if err := root.check(p, v[name], at+"."+name, used); err != nil {
			return err
		}
	}
	return nil
}

func ofType(want, v any) bool {
	var names []any
	switch want := want.(type) {
	case string:
		names = []any{want}
	case []any:
		names = want
	}
	for _, n := range names {
		switch v := v.(type) {
		case nil:
			if n == "null" {
				return true
			}
		case bool:
			if n == "boolean" {
				return true
			}
		case string:
			if n == "string" {
				return true
			}
		case float64:
			if n == "number" || n == "integer" && v == float64(int64(v)) {
				return true
			}
		case []any:
			if n == "array" {
				return true
			}
		case map[string]any:
			if n == "object" {
				return true
			}
		}
	}
	return false
}

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
	root := loadSchema(t)
	used := map[string]bool{}
	bare := sdktest.Event()
	bare.Evidence, bare.Seq = nil, 1
	for _, e := range []sdk.Event{everything(), bare} {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if err := root.check(root.Defs["attack"], v, "event", used); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
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

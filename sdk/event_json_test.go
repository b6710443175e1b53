package sdk

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestEventJSON(t *testing.T) {
	at := time.Date(2026, 3, 4, 6, 6, 7, 80_000_000, time.FixedZone("", 3600))
	first := Crossing{
		Threshold: "flood", Scope: "host", Counter: "total", Unit: "pps", Value: 99059.12345, Limit: 20000,
		Window: 2500 * time.Millisecond, Rule: "7x1.5", At: at,
	}
	e := Event{
		Type: AttackStarted, ID: "0f5c1e", Seq: 1, Time: at, Started: at.Add(-time.Second),
		Target: netip.MustParsePrefix("2001:db8::1/128"), Direction: "incoming", HostGroup: "default", Network: "customers",
		Pipeline: "main", Mode: "monitor", WouldHave: true, Revision: "00a1", Crossing: first, AttackType: "udp_flood", Protocol: "udp",
		Crossed: []Crossing{first}, PeakPPS: 1e21, InitialPPS: 99059.12345,
		Incoming: []CounterRate{{"total", 99059.12345, 1e9}, {"a_first", math.Inf(1), -0.0001}},
		Flows:    [2]float64{0.5, 0}, LossRatio: math.NaN(),
	}
	const crossing = `"threshold":"flood","scope":"host","counter":"total","unit":"pps","value":99059.123,"limit":20000,"window":2.5,"rule":"7x1.5","at":"2026-03-04T05:06:07.08Z"`
	want := `{"event":"attack.started","id":"0f5c1e","seq":1,"time":"2026-03-04T05:06:07.08Z","started":"2026-03-04T05:06:06.08Z",` +
		`"target":"2001:db8::1","direction":"incoming","hostgroup":"default","network":"customers","pipeline":"main",` +
		`"mode":"monitor","would_have":true,"revision":"00a1",` + crossing +
		`,"label":"","label_confidence":0,"attack_type":"udp_flood","protocol":"udp","thresholds_crossed":[{` + crossing + `}],` +
		`"peak_pps":1000000000000000000000,"initial_pps":99059.123,` +
		`"rates":{"incoming":{"total":{"pps":99059.123,"bps":1000000000},"a_first":{"pps":null,"bps":0}},"outgoing":{}},` +
		`"flows":{"incoming":0.5,"outgoing":0},"loss_ratio":null}`
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEventJSONSummary(t *testing.T) {
	b, err := json.Marshal(Event{Summary: &Summary{Attacks: 7, Open: 1, Parts: []Part{{
		ID: "a", Target: netip.MustParsePrefix("10.0.0.1/32"), HostGroup: "g", Threshold: "flood", AttackType: "udp_flood", PeakPPS: 1.5, Started: time.Unix(0, 0),
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `"summary":{"attacks":7,"open":1,"parts":[{"id":"a","target":"10.0.0.1","hostgroup":"g","threshold":"flood",` +
		`"attack_type":"udp_flood","peak_pps":1.5,"started":"1970-01-01T00:00:00Z","ended":""}]}}`
	if !strings.HasSuffix(string(b), want) {
		t.Errorf("got\n%s\nwant at the end\n%s", b, want)
	}
}

func TestEventJSONTargets(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.0.0.1/32": "10.0.0.1", "10.0.0.0/24": "10.0.0.0/24", "2001:db8::/64": "2001:db8::/64",
	} {
		if got := TargetText(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("%s: %s", prefix, got)
		}
	}
	b, err := json.Marshal(Event{Type: ReplayFinished})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m["event"] != "replay.finished" || m["target"] != "" || m["time"] != "" || m["thresholds_crossed"] == nil {
		t.Errorf("%s", b)
	}
}

func TestTargetText(t *testing.T) {
	for want, p := range map[string]netip.Prefix{
		"":                {}, // a network of several prefixes
		"203.0.113.7":     netip.MustParsePrefix("203.0.113.7/32"),
		"203.0.113.0/24":  netip.MustParsePrefix("203.0.113.0/24"),
		"2001:db8:0:1::1": netip.MustParsePrefix("2001:db8:0:1::1/128"),
	} {
		if got := TargetText(p); got != want {
			t.Errorf("%v: %q, want %q", p, got, want)
		}
	}
}

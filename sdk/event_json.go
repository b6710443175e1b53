package sdk

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// MarshalJSON gives the one JSON form that an event has everywhere: in
// replay's output, on a script's standard input, in an exporter's lines.
//
// The order of the fields is fixed. Times are UTC (RFC 3339, nanoseconds),
// rates are per second and rounded to three decimals, windows are seconds. A
// target that is a single address is written without its length. The fields:
//
//	event, id, seq, time, started, target, direction, hostgroup, network,
//	pipeline, mode, would_have, revision; suspended and lifted only where they
//	                    are set
//	threshold, scope, counter, unit, value, limit, window, rule, at
//	                    the first limit crossed; at is when
//	label, label_confidence, attack_type, protocol
//	thresholds_crossed  list of objects like the first limit crossed
//	peak_pps, initial_pps
//	rates               {"incoming": {COUNTER: {"pps", "bps"}}, "outgoing": …}
//	flows               {"incoming", "outgoing"}: new flows per second
//	loss_ratio
//	evidence            only where there is some: samples, frames, flows, before,
//	                    packets, bytes, complete, first, last, basis, reasons,
//	                    parts, tops {NAME: {distinct, at_least, rows}},
//	                    source_entropy, spoofed, timeline, findings, pcap,
//	                    report, problems
//	summary             {"attacks", "open", "parts": [{"id", "target", "hostgroup",
//	                    "threshold", "attack_type", "peak_pps", "started", "ended"}]},
//	                    only where the event stands for many attacks
//	mitigation          {"id", "attack", "target", "direction", "hostgroup", "action",
//	                    "state", "cause", "time", "requested", "expires", "by",
//	                    "reason", "announcements", "peers": [{"peer", "state",
//	                    "cause"}]}, only in mitigation.changed
//
// Unset times and targets are empty strings.
func (e Event) MarshalJSON() ([]byte, error) {
	first := crossingJSON(e.Crossing)
	crossed := make([]jsonCrossing, len(e.Crossed))
	for i, c := range e.Crossed {
		crossed[i] = crossingJSON(c)
	}
	return json.Marshal(jsonEvent{
		Event: e.Type, ID: e.ID, Seq: e.Seq, Time: jsonTime(e.Time), Started: jsonTime(e.Started),
		Target: TargetText(e.Target), Direction: e.Direction, HostGroup: e.HostGroup, Network: e.Network,
		Pipeline: e.Pipeline, Mode: e.Mode, WouldHave: e.WouldHave, Suspended: e.Suspended, Lifted: e.Lifted, Revision: e.Revision,
		jsonCrossing: first,
		Label:        e.Label, Confidence: jsonNumber(e.Confidence), AttackType: e.AttackType, Protocol: e.Protocol,
		Crossed: crossed, PeakPPS: jsonNumber(e.PeakPPS), InitialPPS: jsonNumber(e.InitialPPS),
		Rates: jsonRates{counterRates(e.Incoming), counterRates(e.Outgoing)},
		Flows: jsonFlows{jsonNumber(e.Flows[0]), jsonNumber(e.Flows[1])},
		Loss:  jsonNumber(e.LossRatio), Evidence: evidenceJSON(e.Evidence),
		Summary: summaryJSON(e.Summary), Mitigation: e.Mitigation,
	})
}

type jsonSummary struct {
	Attacks int          `json:"attacks"`
	Open    int          `json:"open"`
	Parts   []jsonMember `json:"parts"`
}

type jsonMember struct {
	ID         string     `json:"id"`
	Target     string     `json:"target"`
	HostGroup  string     `json:"hostgroup"`
	Threshold  string     `json:"threshold"`
	AttackType string     `json:"attack_type"`
	PeakPPS    jsonNumber `json:"peak_pps"`
	Started    jsonTime   `json:"started"`
	Ended      jsonTime   `json:"ended"`
}

func summaryJSON(s *Summary) *jsonSummary {
	if s == nil {
		return nil
	}
	out := &jsonSummary{Attacks: s.Attacks, Open: s.Open, Parts: make([]jsonMember, len(s.Parts))}
	for i, p := range s.Parts {
		out.Parts[i] = jsonMember{p.ID, TargetText(p.Target), p.HostGroup, p.Threshold, p.AttackType, jsonNumber(p.PeakPPS), jsonTime(p.Started), jsonTime(p.Ended)}
	}
	return out
}

type jsonEvent struct {
	Event     EventType `json:"event"`
	ID        string    `json:"id"`
	Seq       uint32    `json:"seq"`
	Time      jsonTime  `json:"time"`
	Started   jsonTime  `json:"started"`
	Target    string    `json:"target"`
	Direction string    `json:"direction"`
	HostGroup string    `json:"hostgroup"`
	Network   string    `json:"network"`
	Pipeline  string    `json:"pipeline"`
	Mode      string    `json:"mode"`
	WouldHave bool      `json:"would_have"`
	Suspended string    `json:"suspended,omitempty"`
	Lifted    bool      `json:"lifted,omitempty"`
	Revision  string    `json:"revision"`
	jsonCrossing
	Label      string         `json:"label"`
	Confidence jsonNumber     `json:"label_confidence"`
	AttackType string         `json:"attack_type"`
	Protocol   string         `json:"protocol"`
	Crossed    []jsonCrossing `json:"thresholds_crossed"`
	PeakPPS    jsonNumber     `json:"peak_pps"`
	InitialPPS jsonNumber     `json:"initial_pps"`
	Rates      jsonRates      `json:"rates"`
	Flows      jsonFlows      `json:"flows"`
	Loss       jsonNumber     `json:"loss_ratio"`
	Evidence   *jsonEvidence  `json:"evidence,omitempty"`
	Summary    *jsonSummary   `json:"summary,omitempty"`

	Mitigation *MitigationReport `json:"mitigation,omitempty"`
}

// MarshalJSON gives the form that a mitigation has in events: see
// Event.MarshalJSON.
func (m MitigationReport) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonMitigation{
		m.ID, m.AttackID, TargetText(m.Target), m.Direction, m.HostGroup, m.Action, m.State, m.Cause,
		jsonTime(m.Time), jsonTime(m.Requested), jsonTime(m.Expires), m.By, m.Reason,
		append([]string{}, m.Announcements...), append([]PeerStatus{}, m.Peers...),
	})
}

type jsonMitigation struct {
	ID            string          `json:"id"`
	Attack        string          `json:"attack"`
	Target        string          `json:"target"`
	Direction     string          `json:"direction"`
	HostGroup     string          `json:"hostgroup"`
	Action        string          `json:"action"`
	State         MitigationState `json:"state"`
	Cause         string          `json:"cause"`
	Time          jsonTime        `json:"time"`
	Requested     jsonTime        `json:"requested"`
	Expires       jsonTime        `json:"expires"`
	By            string          `json:"by"`
	Reason        string          `json:"reason"`
	Announcements []string        `json:"announcements"`
	Peers         []PeerStatus    `json:"peers"`
}

type jsonCrossing struct {
	Threshold string     `json:"threshold"`
	Scope     string     `json:"scope"`
	Counter   string     `json:"counter"`
	Unit      string     `json:"unit"`
	Value     jsonNumber `json:"value"`
	Limit     jsonNumber `json:"limit"`
	Window    jsonNumber `json:"window"`
	Rule      string     `json:"rule"`
	At        jsonTime   `json:"at"`
}

type jsonRates struct {
	Incoming counterRates `json:"incoming"`
	Outgoing counterRates `json:"outgoing"`
}

type jsonFlows struct {
	Incoming jsonNumber `json:"incoming"`
	Outgoing jsonNumber `json:"outgoing"`
}

func crossingJSON(c Crossing) jsonCrossing {
	return jsonCrossing{
		Threshold: c.Threshold, Scope: c.Scope, Counter: c.Counter, Unit: c.Unit,
		Value: jsonNumber(c.Value), Limit: jsonNumber(c.Limit), Window: jsonNumber(c.Window.Seconds()),
		Rule: c.Rule, At: jsonTime(c.At),
	}
}

// TargetText is how events write a target: an address in its canonical form
// (RFC 5952), or, of a wider target, the prefix. It is empty where there is
// none: for a hostgroup or network that has several prefixes, and for attacks
// that share none.
func TargetText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// Key is the same for every copy of one event, in every run, and for no other
// event: the attack's id and the event's sequence number, or the mitigation's id,
// state and when it came to it.
func (e *Event) Key() string {
	if m := e.Mitigation; e.Type == MitigationChanged && m != nil {
		return m.ID + "-" + string(m.State) + "-" + strconv.FormatInt(m.Time.UnixNano(), 10)
	}
	return e.ID + "-" + strconv.FormatUint(uint64(e.Seq), 10)
}

// TargetName is TargetText of the target, or "network" or "hostgroup" and its
// name where that has several prefixes.
func (e *Event) TargetName() string {
	switch {
	case e.Target.IsValid():
		return TargetText(e.Target)
	case e.Scope == "network":
		return "network " + e.Network
	}
	return "hostgroup " + e.HostGroup
}

type jsonTime time.Time

func (t jsonTime) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte(`""`), nil
	}
	return json.Marshal(time.Time(t).UTC().Format(time.RFC3339Nano))
}

// jsonNumber is rounded to three decimals and never written with an exponent,
// so that equal rates give equal bytes. What is no number is null.
type jsonNumber float64

func (n jsonNumber) MarshalJSON() ([]byte, error) {
	f := math.Round(float64(n)*1000) / 1000
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	if f == 0 {
		f = 0 // no negative zero
	}
	return strconv.AppendFloat(nil, f, 'f', -1, 64), nil
}

// counterRates is an object that keeps the order of its counters.
type counterRates []CounterRate

func (rates counterRates) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, r := range rates {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(r.Counter)
		if err != nil {
			return nil, err
		}
		values, err := json.Marshal(struct {
			PPS jsonNumber `json:"pps"`
			BPS jsonNumber `json:"bps"`
		}{jsonNumber(r.PPS), jsonNumber(r.BPS)})
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(values)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

package main

import (
	"encoding/json"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// row is one message of a snapshot: only what it is about is there.
type row struct {
	Kind      string             `json:"kind"`
	Time      float64            `json:"time"`
	Name      string             `json:"name,omitempty"`
	Family    int                `json:"family,omitempty"`
	Direction string             `json:"direction,omitempty"`
	HostGroup string             `json:"hostgroup,omitempty"`
	Network   string             `json:"network,omitempty"`
	PPS       map[string]float64 `json:"pps,omitempty"`
	BPS       map[string]float64 `json:"bps,omitempty"`
	Flows     *float64           `json:"flows,omitempty"`
	Received  *uint64            `json:"received,omitempty"`
	Used      *uint64            `json:"used,omitempty"`
	InFlight  *uint64            `json:"in_flight,omitempty"`
	Dropped   map[string]uint64  `json:"dropped,omitempty"`
	Value     *float64           `json:"value,omitempty"`

	counters []sdk.CounterRate // what PPS and BPS are made of
}

// rated is a row of rates.
func rated(r row, counters []sdk.CounterRate, flows float64) row {
	r.PPS, r.BPS, r.Flows, r.counters = map[string]float64{}, map[string]float64{}, &flows, counters
	for _, c := range counters {
		r.PPS[c.Counter], r.BPS[c.Counter] = c.PPS, c.BPS
	}
	return r
}

func rowsOf(s *sdk.Snapshot) (out []row) {
	for i := range s.Totals {
		t := &s.Totals[i]
		out = append(out, rated(row{Kind: "total", Name: "ipv" + strconv.Itoa(t.Family), Family: t.Family, Direction: t.Direction}, t.Counters, t.Flows))
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		out = append(out, rated(row{Kind: "network", Name: r.Name, Direction: r.Direction}, r.Counters, r.Flows))
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		out = append(out, rated(row{Kind: "hostgroup", Name: r.Name, Direction: r.Direction}, r.Counters, r.Flows))
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		out = append(out, rated(row{Kind: "host", Name: sdk.TargetText(h.Host), Direction: h.Direction, HostGroup: h.Group, Network: h.Network}, h.Counters, h.Flows))
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		out = append(out, row{Kind: "input", Name: l.Input, Received: &l.Received, Used: &l.Used, InFlight: &l.InFlight, Dropped: l.Dropped})
	}
	for i := range s.System {
		out = append(out, row{Kind: "system", Name: s.System[i].Name, Value: &s.System[i].Value})
	}
	return out
}

// messages are those of a snapshot.
func messages(c *config, s *sdk.Snapshot) ([]*kgo.Record, error) {
	all := rowsOf(s)
	out := make([]*kgo.Record, 0, len(all))
	for i := range all {
		value, err := c.encodeRow(&all[i], s)
		if err != nil {
			return nil, err
		}
		out = append(out, &kgo.Record{Topic: c.SnapshotsTopic, Key: []byte(all[i].Kind + ":" + all[i].Name), Value: value, Timestamp: s.Time})
	}
	return out, nil
}

// encodeRow is a row as the configured format has it.
func (c *config) encodeRow(r *row, s *sdk.Snapshot) ([]byte, error) {
	if c.Format == formatProtobuf {
		return rowProtobuf(r, s)
	}
	r.Time = float64(s.Time.UnixMilli()) / 1000
	return json.Marshal(r)
}

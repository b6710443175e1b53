package sdk

import (
	"bytes"
	"encoding/json"
)

type jsonEvidence struct {
	Samples  int        `json:"samples"`
	Frames   int        `json:"frames"`
	Flows    int        `json:"flows"`
	Before   int        `json:"before"`
	Packets  uint64     `json:"packets"`
	Bytes    uint64     `json:"bytes"`
	Complete bool       `json:"complete"`
	First    jsonTime   `json:"first"`
	Last     jsonTime   `json:"last"`
	Basis    string     `json:"basis"`
	Reasons  []string   `json:"reasons"`
	Parts    []jsonPart `json:"parts"`
	Tops     jsonTops   `json:"tops"`
	Entropy  jsonNumber `json:"source_entropy"`
	Spoofed  string     `json:"spoofed"`
	Timeline []jsonTick `json:"timeline"`
	Findings []jsonFind `json:"findings"`
	PCAP     string     `json:"pcap"`
	Report   string     `json:"report"`
	Problems []string   `json:"problems"`
}

type jsonPart struct {
	Label string     `json:"label"`
	Share jsonNumber `json:"share"`
}

type jsonTick struct {
	Second int        `json:"second"`
	PPS    jsonNumber `json:"pps"`
	BPS    jsonNumber `json:"bps"`
}

type jsonFind struct {
	Label      string     `json:"label"`
	Confidence jsonNumber `json:"confidence"`
	Detail     string     `json:"detail"`
}

type jsonTop struct {
	Distinct int       `json:"distinct"`
	AtLeast  bool      `json:"at_least"`
	Rows     []jsonRow `json:"rows"`
}

type jsonRow struct {
	Value   string     `json:"value"`
	Packets uint64     `json:"packets"`
	Bytes   uint64     `json:"bytes"`
	Share   jsonNumber `json:"share"`
}

func evidenceJSON(e *EvidenceReport) *jsonEvidence {
	if e == nil {
		return nil
	}
	out := &jsonEvidence{
		Samples: e.Samples, Frames: e.Frames, Flows: e.Flows, Before: e.Before, Packets: e.Packets, Bytes: e.Bytes,
		Complete: e.Complete, First: jsonTime(e.First), Last: jsonTime(e.Last), Basis: e.Basis,
		Reasons: append([]string{}, e.Reasons...), Parts: []jsonPart{}, Tops: e.Tops,
		Entropy: jsonNumber(e.SourceEntropy), Spoofed: e.Spoofed, Timeline: []jsonTick{}, Findings: []jsonFind{},
		PCAP: e.PCAP, Report: e.Report, Problems: append([]string{}, e.Problems...),
	}
	for _, p := range e.Parts {
		out.Parts = append(out.Parts, jsonPart{p.Label, jsonNumber(p.Share)})
	}
	for _, p := range e.Timeline {
		out.Timeline = append(out.Timeline, jsonTick{p.Second, jsonNumber(p.PPS), jsonNumber(p.BPS)})
	}
	for _, f := range e.Findings {
		out.Findings = append(out.Findings, jsonFind{f.Label, jsonNumber(f.Confidence), f.Detail})
	}
	return out
}

// jsonTops is an object that keeps the order of its lists.
type jsonTops []Top

func (tops jsonTops) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range tops {
		t := &tops[i]
		rows := make([]jsonRow, len(t.Rows))
		for n, r := range t.Rows {
			rows[n] = jsonRow{r.Value, r.Packets, r.Bytes, jsonNumber(r.Share)}
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, err
		}
		list, err := json.Marshal(jsonTop{t.Distinct, t.AtLeast, rows})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(list)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

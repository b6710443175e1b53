package host

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

func evidenceToProto(e *sdk.EvidenceReport) *pb.Evidence {
	if e == nil {
		return nil
	}
	out := &pb.Evidence{
		Samples: uint32(e.Samples), Frames: uint32(e.Frames), Flows: uint32(e.Flows), Before: uint32(e.Before),
		Packets: e.Packets, Bytes: e.Bytes, Complete: e.Complete, FirstUnixNano: nanos(e.First), LastUnixNano: nanos(e.Last),
		Basis: e.Basis, Reasons: e.Reasons, SourceEntropy: e.SourceEntropy, Spoofed: e.Spoofed,
		Pcap: e.PCAP, Report: e.Report, Problems: e.Problems,
	}
	for _, p := range e.Parts {
		out.Parts = append(out.Parts, &pb.LabelPart{Label: p.Label, Share: p.Share})
	}
	for i := range e.Tops {
		t := &e.Tops[i]
		top := &pb.Top{Name: t.Name, Distinct: uint32(t.Distinct), AtLeast: t.AtLeast}
		for _, r := range t.Rows {
			top.Rows = append(top.Rows, &pb.TopRow{Value: r.Value, Packets: r.Packets, Bytes: r.Bytes, Share: r.Share})
		}
		out.Tops = append(out.Tops, top)
	}
	for _, p := range e.Timeline {
		out.Timeline = append(out.Timeline, &pb.TimelinePoint{Second: uint32(p.Second), Pps: p.PPS, Bps: p.BPS})
	}
	for _, f := range e.Findings {
		out.Findings = append(out.Findings, &pb.Finding{Label: f.Label, Confidence: f.Confidence, Detail: f.Detail})
	}
	for i := range e.Dump {
		out.Dump = append(out.Dump, sampleToProto(&e.Dump[i]))
	}
	return out
}

package wire

import (
	"math"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// maxDiagnostics is how many diagnostics of one answer are looked at.
const maxDiagnostics = 1000

// DiagnosticsToProto encodes ds.
func DiagnosticsToProto(ds diag.Diagnostics) []*pb.Diagnostic {
	var out []*pb.Diagnostic
	for _, d := range ds {
		p := &pb.Diagnostic{Severity: pb.Diagnostic_SEVERITY_ERROR, Summary: valid(d.Summary), Detail: valid(d.Detail)}
		if !d.IsError() {
			p.Severity = pb.Diagnostic_SEVERITY_WARNING
		}
		for _, s := range d.Path {
			p.Path = append(p.Path, stepToProto(s))
		}
		out = append(out, p)
	}
	return out
}

func stepToProto(s diag.Step) *pb.PathStep {
	switch s.Kind {
	case diag.StepIndex:
		return &pb.PathStep{Step: &pb.PathStep_Index{Index: int64(s.N)}}
	case diag.StepKey:
		return &pb.PathStep{Step: &pb.PathStep_Key{Key: valid(s.Name)}}
	}
	return &pb.PathStep{Step: &pb.PathStep_Attribute{Attribute: valid(s.Name)}}
}

// DiagnosticsFromProto decodes what another program complained of: the first
// thousand, each of bounded length. A severity that is not known counts as an
// error.
func DiagnosticsFromProto(in []*pb.Diagnostic) diag.Diagnostics {
	var out diag.Diagnostics
	for _, p := range in[:min(len(in), maxDiagnostics)] {
		d := diag.Diagnostic{Severity: diag.Error, Summary: Clean(p.GetSummary(), maxText), Detail: Clean(p.GetDetail(), 4*maxText)}
		if p.GetSeverity() == pb.Diagnostic_SEVERITY_WARNING {
			d.Severity = diag.Warning
		}
		for _, s := range p.GetPath()[:min(len(p.GetPath()), 2*maxDepth)] {
			switch step := s.GetStep().(type) {
			case *pb.PathStep_Attribute:
				d.Path = d.Path.Attr(Clean(step.Attribute, maxText))
			case *pb.PathStep_Index:
				d.Path = d.Path.Index(int(max(0, min(step.Index, math.MaxInt32))))
			case *pb.PathStep_Key:
				d.Path = d.Path.Key(Clean(step.Key, maxText))
			}
		}
		out = append(out, d)
	}
	return out
}

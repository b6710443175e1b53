package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// Kinds of plugin, as they stand in configurations and file names.
const (
	KindCapture = "capture"
	KindFilter  = "filter"
	KindAction  = "action"
	KindExport  = "export"
)

// Features that a description may name.
const (
	FeatureNotifier  = "notifier"
	FeatureMitigator = "mitigator"
	FeaturePreview   = "preview"
	FeatureUnchanged = "unchanged"
	FeatureInspector = "inspector"
	FeatureSampler   = "sampler"
	FeatureTap       = "tap"
	FeatureTable     = "table"
	FeatureWorkers   = "workers"
	FeatureHealth    = "health"
	FeatureState     = "state"
)

// Description is what a plugin says of itself, by RPC and as the JSON that
// its describe command prints.
type Description struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // capture, filter, action, export
	Version     string   `json:"version"`
	SDKVersion  string   `json:"sdk_version"`
	Protocol    uint32   `json:"protocol"`
	Minor       uint32   `json:"protocol_minor"`
	Features    []string `json:"features,omitempty"`
	TargetBlock string   `json:"target_block,omitempty"` // block type whose labels references may name
	Summary     string   `json:"summary,omitempty"`
	Schema      Block    `json:"schema"`
}

// Has reports whether the plugin names the feature.
func (d *Description) Has(feature string) bool { return slices.Contains(d.Features, feature) }

// Check reports what makes the description unusable.
func (d *Description) Check() error {
	switch d.Kind {
	case KindCapture, KindFilter, KindAction, KindExport:
	default:
		return fmt.Errorf("description: kind %q is none of capture, filter, action, export", Clean(d.Kind, 64))
	}
	if !hclsyntax.ValidIdentifier(d.Name) || len(d.Name) > 64 {
		return fmt.Errorf("description: name %q is no HCL identifier of at most 64 bytes", Clean(d.Name, 64))
	}
	if d.Version == "" || len(d.Version) > 128 {
		return errors.New("description: the version is missing or longer than 128 bytes")
	}
	if len(d.Features) > 64 {
		return errors.New("description: more than 64 features")
	}
	if err := d.Schema.Check(); err != nil {
		return err
	}
	return d.checkTargetBlock()
}

func (d *Description) checkTargetBlock() error {
	if d.TargetBlock == "" {
		return nil
	}
	for i := range d.Schema.Blocks {
		if n := &d.Schema.Blocks[i]; n.Name == d.TargetBlock {
			if len(n.Labels) != 1 {
				return fmt.Errorf("description: target block %q needs exactly one label, by which references name it", d.TargetBlock)
			}
			return nil
		}
	}
	return fmt.Errorf("description: the schema has no block %q, which is named as target block", Clean(d.TargetBlock, 64))
}

// DescriptionToProto encodes d.
func DescriptionToProto(d *Description) (*pb.DescribeResponse, error) {
	schema, err := BlockToProto(&d.Schema)
	if err != nil {
		return nil, err
	}
	return &pb.DescribeResponse{
		Name: d.Name, Kind: d.Kind, Version: d.Version, SdkVersion: d.SDKVersion,
		Protocol: d.Protocol, ProtocolMinor: d.Minor, Features: slices.Clone(d.Features),
		TargetBlock: d.TargetBlock, Summary: d.Summary, Schema: schema,
	}, nil
}

// DescriptionFromProto decodes and checks a description.
func DescriptionFromProto(in *pb.DescribeResponse) (*Description, error) {
	schema, err := BlockFromProto(in.GetSchema())
	if err != nil {
		return nil, err
	}
	d := &Description{
		Name: in.GetName(), Kind: in.GetKind(), Version: Clean(in.GetVersion(), 256), SDKVersion: Clean(in.GetSdkVersion(), 256),
		Protocol: in.GetProtocol(), Minor: in.GetProtocolMinor(),
		TargetBlock: in.GetTargetBlock(), Summary: Clean(in.GetSummary(), maxText), Schema: schema,
	}
	for _, f := range in.GetFeatures()[:min(len(in.GetFeatures()), 65)] {
		d.Features = append(d.Features, Clean(f, 64))
	}
	return d, d.Check()
}

// ParseDescription reads and checks what a plugin's describe command printed.
func ParseDescription(b []byte) (*Description, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("description: longer than %d bytes", MaxMessage)
	}
	var d Description
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	d.Summary, d.SDKVersion, d.Version = Clean(d.Summary, maxText), Clean(d.SDKVersion, 256), Clean(d.Version, 256)
	return &d, d.Check()
}

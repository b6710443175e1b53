package wire

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// Limits on a schema, which comes from another program.
const (
	maxDepth     = 16
	maxItems     = 1000 // attributes and blocks in one block
	maxTypeBytes = 4 << 10
	maxText      = 4 << 10
)

// ReservedName is the block type that the core reads inside a plugin's block.
const ReservedName = "process"

// Block is the schema of a configuration body.
type Block struct {
	Attributes []Attribute   `json:"attributes,omitempty"`
	Blocks     []NestedBlock `json:"blocks,omitempty"`
}

// Attribute is one attribute of a Block.
type Attribute struct {
	Name      string   `json:"name"`
	Type      cty.Type `json:"type"` // in JSON as cty writes it
	Required  bool     `json:"required,omitempty"`
	Sensitive bool     `json:"sensitive,omitempty"`
	Summary   string   `json:"summary,omitempty"`
}

// NestedBlock is a block type inside a Block.
type NestedBlock struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels,omitempty"` // names of its labels, in order
	Block  Block    `json:"block"`
	Min    int      `json:"min,omitempty"`
	Max    int      `json:"max,omitempty"` // 0: no limit
}

// ImpliedType is the type of a body's value as it travels to the plugin: an
// object with
//   - one attribute for each attribute of the schema, of its type; an optional
//     one that is not set is null;
//   - one attribute for each nested block type, named after it: a list, in
//     order of appearance, of objects of the nested body's implied type (an
//     empty list where there is none, a list of one where Max is 1);
//   - in such an object also one string attribute for each label, named after
//     the label.
func (b *Block) ImpliedType() cty.Type { return b.impliedType(nil) }

func (b *Block) impliedType(labels []string) cty.Type {
	attrs := make(map[string]cty.Type, len(b.Attributes)+len(b.Blocks)+len(labels))
	for _, label := range labels {
		attrs[label] = cty.String
	}
	for i := range b.Attributes {
		attrs[b.Attributes[i].Name] = b.Attributes[i].Type
	}
	for i := range b.Blocks {
		n := &b.Blocks[i]
		attrs[n.Name] = cty.List(n.Block.impliedType(n.Labels))
	}
	return cty.Object(attrs)
}

// DecoderSpec is the decoder of a body whose values have the implied type.
func (b *Block) DecoderSpec() hcldec.Spec { return b.decoderSpec(nil) }

func (b *Block) decoderSpec(labels []string) hcldec.Spec {
	spec := hcldec.ObjectSpec{}
	for i, label := range labels {
		spec[label] = &hcldec.BlockLabelSpec{Index: i, Name: label}
	}
	for _, a := range b.Attributes {
		spec[a.Name] = &hcldec.AttrSpec{Name: a.Name, Type: a.Type, Required: a.Required}
	}
	for i := range b.Blocks {
		n := &b.Blocks[i]
		spec[n.Name] = &hcldec.BlockListSpec{
			TypeName: n.Name, Nested: n.Block.decoderSpec(n.Labels), MinItems: n.Min, MaxItems: n.Max,
		}
	}
	return spec
}

// Check reports what makes the block unusable as a schema.
func (b *Block) Check() error { return b.check(nil, 0) }

func (b *Block) check(labels []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("schema: blocks nest deeper than %d", maxDepth)
	}
	if len(b.Attributes)+len(b.Blocks)+len(labels) > maxItems {
		return fmt.Errorf("schema: a block has more than %d attributes, blocks and labels", maxItems)
	}
	seen := map[string]bool{}
	name := func(what, name string) error {
		switch {
		case !hclsyntax.ValidIdentifier(name):
			return fmt.Errorf("schema: %s name %q is no HCL identifier", what, name)
		case seen[name]:
			return fmt.Errorf("schema: name %q is used twice in one block", name)
		case depth == 0 && name == ReservedName:
			return fmt.Errorf("schema: the name %q is reserved for the core; choose another one", name)
		}
		seen[name] = true
		return nil
	}
	for _, l := range labels {
		if err := name("label", l); err != nil {
			return err
		}
	}
	for i := range b.Attributes {
		a := &b.Attributes[i]
		if err := name("attribute", a.Name); err != nil {
			return err
		}
		if a.Type == cty.NilType || a.Type.HasDynamicTypes() {
			return fmt.Errorf("schema: attribute %q needs a definite type", a.Name)
		}
	}
	for i := range b.Blocks {
		n := &b.Blocks[i]
		if err := name("block", n.Name); err != nil {
			return err
		}
		if n.Min < 0 || n.Max < 0 || n.Max > 0 && n.Min > n.Max {
			return fmt.Errorf("schema: block %q: at least %d and at most %d of them cannot be", n.Name, n.Min, n.Max)
		}
		if err := n.Block.check(n.Labels, depth+1); err != nil {
			return fmt.Errorf("block %q: %w", n.Name, err)
		}
	}
	return nil
}

// UnmarshalJSON bounds the type, whose decoder takes time that grows with the
// square of its depth.
func (a *Attribute) UnmarshalJSON(b []byte) error {
	type plain Attribute
	in := struct {
		*plain
		Type json.RawMessage `json:"type"`
	}{plain: (*plain)(a)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	var err error
	a.Type, err = typeOf(a.Name, in.Type)
	return err
}

func typeOf(name string, b []byte) (cty.Type, error) {
	if len(b) > maxTypeBytes {
		return cty.NilType, fmt.Errorf("schema: the type of attribute %q is longer than %d bytes", Clean(name, 64), maxTypeBytes)
	}
	typ, err := ctyjson.UnmarshalType(b)
	if err != nil {
		return cty.NilType, fmt.Errorf("schema: attribute %q: %w", Clean(name, 64), err)
	}
	return typ, nil
}

// BlockToProto encodes a schema.
func BlockToProto(b *Block) (*pb.Block, error) {
	out := &pb.Block{}
	for _, a := range b.Attributes {
		typ, err := ctyjson.MarshalType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("schema: attribute %q: %w", a.Name, err)
		}
		out.Attributes = append(out.Attributes, &pb.Attribute{
			Name: a.Name, Type: typ, Required: a.Required, Sensitive: a.Sensitive, Summary: a.Summary,
		})
	}
	for i := range b.Blocks {
		n := &b.Blocks[i]
		inner, err := BlockToProto(&n.Block)
		if err != nil {
			return nil, err
		}
		out.Blocks = append(out.Blocks, &pb.NestedBlock{
			Name: n.Name, Labels: slices.Clone(n.Labels), Block: inner, Min: uint32(n.Min), Max: uint32(n.Max),
		})
	}
	return out, nil
}

// BlockFromProto decodes and checks a schema; nil gives an empty one.
func BlockFromProto(in *pb.Block) (Block, error) {
	b, err := blockFromProto(in, 0)
	if err == nil {
		err = b.Check()
	}
	return b, err
}

func blockFromProto(in *pb.Block, depth int) (Block, error) {
	var b Block
	if depth > maxDepth {
		return b, fmt.Errorf("schema: blocks nest deeper than %d", maxDepth)
	}
	for _, a := range in.GetAttributes() {
		typ, err := typeOf(a.GetName(), a.GetType())
		if err != nil {
			return b, err
		}
		b.Attributes = append(b.Attributes, Attribute{
			Name: a.GetName(), Type: typ, Required: a.GetRequired(), Sensitive: a.GetSensitive(), Summary: Clean(a.GetSummary(), maxText),
		})
	}
	for _, n := range in.GetBlocks() {
		inner, err := blockFromProto(n.GetBlock(), depth+1)
		if err != nil {
			return b, err
		}
		b.Blocks = append(b.Blocks, NestedBlock{
			Name: n.GetName(), Labels: slices.Clone(n.GetLabels()), Block: inner,
			Min: int(min(n.GetMin(), 1<<20)), Max: int(min(n.GetMax(), 1<<20)),
		})
	}
	return b, nil
}

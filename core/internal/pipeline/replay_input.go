package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// replayCapture is the one capture of a replay: a block that no configuration
// holds, or one that it does hold with files in place of the network.
func replayCapture(ctx context.Context, cfg *config.Config, finder plugin.Finder, in Input) (*prepared, error) {
	name := in.Through
	if name == "" {
		name = "pcap"
	}
	name, instance, _ := strings.Cut(name, ".")
	block, err := blockThrough(cfg, name, instance, in.Through != "")
	if err != nil {
		return nil, &InputError{err}
	}
	found, err := finder.Find(host.KindCapture, name, block.Process.Path)
	if err != nil {
		return nil, err
	}
	about, err := plugin.Describe(ctx, found.Path)
	if err != nil {
		return nil, err
	}
	set := map[string]cty.Value{}
	if block.Body != nil {
		own := *block // its value is another in the configuration
		block = &own
		value, diags := cfg.Decode(block, &about.Schema)
		if diags.HasErrors() {
			return nil, diags
		}
		value, _ = value.UnmarkDeep()
		set = value.AsValueMap()
	}
	if block.Value, err = replayValue(&about.Schema, set, in.Files); err != nil {
		return nil, &InputError{fmt.Errorf("capture %q: %w", name, err)}
	}
	return &prepared{cfg: cfg, block: block, found: found, about: about}, nil
}

// blockThrough finds the block whose settings a replay takes over; one without
// settings where flows are read and the configuration has no such capture.
func blockThrough(cfg *config.Config, name, instance string, settings bool) (*config.Plugin, error) {
	var fit []*config.Plugin
	var names []string
	for _, b := range cfg.Captures {
		if settings && b.Name == name && (instance == "" || b.Instance == instance) {
			fit = append(fit, b)
			names = append(names, b.Name+"."+b.Instance)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return nil, fmt.Errorf("the configuration has several captures of %q: say whose settings hold, one of %s", name, strings.Join(names, ", "))
	case instance != "":
		return nil, fmt.Errorf("the configuration has no capture %q %q", name, instance)
	}
	return &config.Plugin{Kind: host.KindCapture, Name: name, Instance: "replay"}, nil
}

// replayValue is the capture's configuration: what is set, and the files.
func replayValue(schema *host.Block, set map[string]cty.Value, files []string) (cty.Value, error) {
	if len(files) == 0 {
		return cty.NilVal, errors.New("no capture files to replay")
	}
	types := schema.ImpliedType().AttributeTypes()
	if typ, ok := types["files"]; !ok || !typ.IsListType() {
		return cty.NilVal, errors.New("it reads no files, so that it cannot be replayed through")
	}
	var paths []cty.Value
	for _, f := range files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return cty.NilVal, err
		}
		paths = append(paths, cty.StringVal(abs))
	}
	values := map[string]cty.Value{}
	for name, typ := range types {
		values[name] = cty.NullVal(typ)
		if v, ok := set[name]; ok {
			values[name] = v
		}
	}
	values["files"] = cty.ListVal(paths)
	return cty.ObjectVal(values), nil
}

package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// GroupHead gives what a hostgroup's block says itself but for its thresholds
// and its detection, an argument each, as it was written.
func (c *Config) GroupHead(name string) (out []string) {
	for g, body := range c.bodies {
		if g.Name != name || body == nil {
			continue
		}
		e := &explainer{c: c, g: g}
		for _, a := range sortedAttributes(body) {
			if a.Name != "detection" {
				out = append(out, a.Name+" = "+e.source(a))
			}
		}
		for _, b := range body.Blocks {
			if f := c.Files[b.Range().Filename]; b.Type == "mitigation" && f != nil {
				out = append(out, string(f.Bytes[b.TypeRange.Start.Byte:b.CloseBraceRange.End.Byte]))
			}
		}
	}
	return out
}

// Rewrite is the configuration as it would be with other texts in place of
// hostgroup blocks, and more at its end. Its files on disk are not touched.
func (c *Config) Rewrite(groups map[string]string, more string, opts ...Option) (*Config, hcl.Diagnostics) {
	l := newLoader(opts)
	l.dir = c.dir
	l.replay = l.replay || c.replay
	for i, s := range c.sources {
		src := c.rewriteSource(s, groups)
		if i == len(c.sources)-1 {
			src += "\n" + more
		}
		l.addSource(s.name, []byte(src))
	}
	return l.finish()
}

// rewriteSource replaces the hostgroup blocks of one file, the last first.
func (c *Config) rewriteSource(s source, groups map[string]string) string {
	out := string(s.src)
	file := c.Files[s.name]
	if file == nil {
		return out
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return out
	}
	blocks := slices.Clone(body.Blocks)
	slices.SortFunc(blocks, func(a, b *hclsyntax.Block) int { return b.TypeRange.Start.Byte - a.TypeRange.Start.Byte })
	for _, b := range blocks {
		if b.Type != "hostgroup" || len(b.Labels) != 1 {
			continue
		}
		if text, ok := groups[b.Labels[0]]; ok {
			out = out[:b.TypeRange.Start.Byte] + strings.TrimRight(text, "\n") + out[b.CloseBraceRange.End.Byte:]
		}
	}
	return out
}

// GroupSource is a hostgroup's block as it was written, without its closing
// brace; "" where there is none.
func (c *Config) GroupSource(name string) string {
	for g, body := range c.bodies {
		if f := c.Files[g.Range.Filename]; g.Name == name && f != nil && body != nil {
			text := string(f.Bytes[g.Range.Start.Byte:body.Range().End.Byte])
			return strings.TrimSuffix(strings.TrimRight(text, " \t\n"), "}")
		}
	}
	return ""
}

// OwnThresholds lists the thresholds that a hostgroup's block has itself, and
// each as it was written.
func (c *Config) OwnThresholds(name string) (names []string, source map[string]string) {
	source = map[string]string{}
	for g, body := range c.bodies {
		f := c.Files[g.Range.Filename]
		if g.Name != name || f == nil || body == nil {
			continue
		}
		for _, b := range body.Blocks {
			if b.Type == "threshold" && len(b.Labels) == 1 && b.CloseBraceRange.End.Byte <= len(f.Bytes) {
				names = append(names, b.Labels[0])
				source[b.Labels[0]] = string(f.Bytes[b.TypeRange.Start.Byte:b.CloseBraceRange.End.Byte])
			}
		}
	}
	return names, source
}

// ShippedNames lists the counters that thresholds may name without a block and
// that are counted only then.
func ShippedNames() (out []string) {
	for _, c := range shipped {
		out = append(out, c.Name)
	}
	return out
}

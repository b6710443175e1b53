package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// CheckTargets compares the references to p with its blocks of the type that
// its plugin names as targets; "" means the plugin has no targets, and a
// reference must have no fourth part. Otherwise it needs one.
func (c *Config) CheckTargets(p *Plugin, targetBlock string) hcl.Diagnostics {
	l := newLoader(nil)
	l.conf = c
	labels := p.Targets(targetBlock)
	whole := p.Kind + "." + p.Name + "." + p.Instance
	for _, r := range c.references() {
		switch {
		case r.Block != p || r.Target != "" && has(labels, r.Target) || r.Target == "" && targetBlock == "":
		case targetBlock == "":
			l.errorf(r.Range, "No such target", "%s has no targets, so a reference to it ends with its instance: write %s.", whole, whole)
		case len(labels) == 0:
			l.errorf(r.Range, "No such target", "%s has no %s block to refer to. Add one to it: %s \"NAME\" { ... }, and write %s.NAME.", whole, targetBlock, targetBlock, whole)
		case r.Target == "":
			l.errorf(r.Range, "Target missing", "%s has several ways to act, so a reference names one of its %s blocks: write %s.NAME with %s for NAME.", whole, targetBlock, whole, list(labels))
		default:
			l.errorf(r.Range, "Undeclared target", "There is no %s %q in %s.%s", targetBlock, r.Target, whole, l.meantOr(r.Target, labels))
		}
	}
	return tidy(l.diags)
}

// Targets are the labels of a plugin's blocks of a type.
func (p *Plugin) Targets(targetBlock string) (labels []string) {
	if body, ok := p.Body.(*hclsyntax.Body); ok {
		for _, b := range body.Blocks {
			if b.Type == targetBlock && len(b.Labels) == 1 {
				labels = append(labels, b.Labels[0])
			}
		}
	}
	return labels
}

// references lists all references to actions, inherited ones included.
func (c *Config) references() (out []Reference) {
	for _, p := range c.Pipelines {
		out = append(out, p.Actions...)
	}
	for _, g := range c.Groups {
		out = append(out, g.Actions...)
		for _, t := range g.Thresholds {
			out = append(out, t.Actions...)
		}
	}
	return out
}

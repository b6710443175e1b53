package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// Exporter is a device, or several alike, that sends flows or samples to
// captures.
type Exporter struct {
	Name        string
	Source      []netip.Prefix // of its datagrams
	Agent       []netip.Prefix // sFlow agent addresses
	Domain      []uint32       // v5 engine, v9 source id, IPFIX observation domain, sFlow sub-agent
	Site        string
	Sampling    uint32   // where neither records nor options tell; 0 unset
	Count       string   // "ingress", "egress" or "" for both
	Interfaces  []string // numbers, ranges and names; with "!" in front: not that one
	Deduplicate string   // exporters with the same word see the same traffic
	Range       hcl.Range
}

// exportersName is the attribute of a capture's block that takes references to
// exporters. A capture that describes it as a list of objects reads datagrams
// that anybody can forge, and so needs the list in mode enforce. Attributes
// whose names end in exportersSuffix take such references too, and so does
// either in the blocks inside it.
const (
	exportersName   = "exporters"
	exportersSuffix = "_exporters"
)

// readExporters reads the devices that captures refer to.
func (l *loader) readExporters() {
	owner := map[netip.Prefix]string{} // of sources that one block has for itself
	alike := map[string][]*Exporter{}
	for _, blk := range l.blocks["exporter"] {
		faults := len(l.diags)
		b := l.open(blk, "an exporter", []string{"name"}, shape{attrs: []string{
			"source", "agent", "domain", "site", "sampling", "count", "interfaces", "deduplicate",
		}})
		if !b.named {
			continue
		}
		e := &Exporter{Name: blk.Labels[0], Range: blk.DefRange()}
		source := b.prefixes("source")
		e.Source, e.Agent, e.Domain = plainPrefixes(source), plainPrefixes(b.prefixes("agent")), b.domains("domain")
		for _, name := range []string{"source", "agent"} {
			if items, n := b.items(name); len(items) == 0 {
				b.notEmpty(name, n)
			}
		}
		if len(l.diags) == faults && b.attr("source") == nil && b.attr("agent") == nil && b.attr("domain") == nil {
			l.errorf(blk.DefRange(), "Exporter without source", "exporter.%s would match every device. Write source = [\"192.0.2.1\"] with the addresses that its datagrams come from.", e.Name)
		}
		if b.attr("agent") == nil && b.attr("domain") == nil {
			for _, p := range source {
				if other, taken := owner[p.Prefix]; taken {
					l.errorf(p.at, "Source in two exporters", "%s already belongs to exporter.%s. Remove it from one of them, or tell the two apart by agent or domain.", p.Prefix, other)
					continue
				}
				owner[p.Prefix] = e.Name
			}
		}
		e.Site, _, _ = b.str("site")
		e.Sampling = b.sampling("sampling")
		e.Count, _ = b.choice("count", "ingress", "egress")
		e.Interfaces = b.interfaces("interfaces")
		if word, i, ok := b.str("deduplicate"); ok {
			if word == "" {
				l.errorf(i.at, "Invalid value", "\"deduplicate\" is empty. Write a word that the exporters of the same traffic share, or remove it.")
			}
			e.Deduplicate = word
			alike[word] = append(alike[word], e)
		}
		l.conf.Exporters = append(l.conf.Exporters, e)
		l.set("exporter", e.Name, e)
	}
	for _, list := range alike {
		if e := list[0]; len(list) == 1 && len(e.Source) == 1 && e.Source[0].IsSingleIP() {
			l.hint(e.Range, "Nothing to de-duplicate", "Only exporter.%s has deduplicate = %q. Write the same word for the others that see the same traffic, or remove it.", e.Name, e.Deduplicate)
		}
	}
}

// domains reads observation domains.
func (b body) domains(name string) (out []uint32) {
	items, n := b.items(name)
	for _, i := range items {
		d, ok := whole(i.Value, 0, math.MaxUint32)
		if !ok {
			b.l.errorf(i.at, "Invalid domain", "%s is not a whole number from 0 to %d, as the domain of an exporter is.", i.text(), uint32(math.MaxUint32))
			continue
		}
		out = append(out, uint32(d))
	}
	if n == 0 {
		b.notEmpty(name, n)
	}
	return out
}

// sampling reads a rate: one packet in so many.
func (b body) sampling(name string) uint32 {
	i, ok := b.one(name)
	if !ok {
		return 0
	}
	n, ok := whole(i.Value, 1, 1<<24)
	if !ok {
		b.l.errorf(i.at, "Invalid sampling rate", "%s is not a sampling rate: one packet in how many is sampled, a whole number from 1 (all) to %d.", i.text(), 1<<24)
	}
	return uint32(n)
}

// interfaces reads interfaces by number, range or name.
func (b body) interfaces(name string) (out []string) {
	items, n := b.items(name)
	for _, i := range items {
		if k, ok := whole(i.Value, 0, math.MaxUint32); ok {
			out = append(out, strconv.FormatInt(k, 10))
			continue
		}
		if i.Type() != cty.String {
			b.wrongType(i, name, `numbers, ranges and names, such as "12", "100-120" and "ae0"`)
			continue
		}
		s := i.AsString()
		from, to, isRange := strings.Cut(strings.TrimPrefix(s, "!"), "-")
		low, err1 := strconv.ParseUint(from, 10, 32)
		high, err2 := strconv.ParseUint(to, 10, 32)
		switch {
		case from == "" && !isRange:
			b.l.errorf(i.at, "Invalid interface", "%s names no interface: write a number (\"12\"), a range (\"100-120\") or a name (\"ae0\").", i.text())
		case isRange && err1 == nil && err2 == nil && low > high:
			b.l.errorf(i.at, "Invalid interface", "The ends of %s are reversed: write \"%d-%d\".", i.text(), high, low)
		default:
			out = append(out, s)
		}
	}
	if n == 0 {
		b.notEmpty(name, n)
	}
	return out
}

// value is the exporter as captures get it.
func (e *Exporter) value() cty.Value {
	texts := func(n int, at func(i int) string) cty.Value {
		list := make([]cty.Value, n)
		for i := range list {
			list[i] = cty.StringVal(at(i))
		}
		if n == 0 {
			return cty.ListValEmpty(cty.String)
		}
		return cty.ListVal(list)
	}
	domains := cty.ListValEmpty(cty.Number)
	if len(e.Domain) > 0 {
		var list []cty.Value
		for _, d := range e.Domain {
			list = append(list, cty.NumberUIntVal(uint64(d)))
		}
		domains = cty.ListVal(list)
	}
	return cty.ObjectVal(map[string]cty.Value{
		"name":        cty.StringVal(e.Name),
		"source":      texts(len(e.Source), func(i int) string { return e.Source[i].String() }),
		"agent":       texts(len(e.Agent), func(i int) string { return e.Agent[i].String() }),
		"domain":      domains,
		"site":        cty.StringVal(e.Site),
		"sampling":    cty.NumberUIntVal(uint64(e.Sampling)),
		"count":       cty.StringVal(e.Count),
		"interfaces":  texts(len(e.Interfaces), func(i int) string { return e.Interfaces[i] }),
		"deduplicate": cty.StringVal(e.Deduplicate),
	})
}

// takesExporters reports whether an attribute is for references to exporters.
func takesExporters(a *host.Attribute) bool {
	return (a.Name == exportersName || strings.HasSuffix(a.Name, exportersSuffix)) && a.Type.IsListType() && a.Type.ElementType().IsObjectType()
}

// decodeExporters turns references into the exporters they name.
func (l *loader) decodeExporters(a *hclsyntax.Attribute, schema *host.Attribute) cty.Value {
	null := cty.NullVal(schema.Type)
	b := body{l: l, Block: &hclsyntax.Block{Body: &hclsyntax.Body{Attributes: hclsyntax.Attributes{a.Name: a}}}}
	refs, set := b.refs(a.Name, "exporter")
	if !set {
		return null
	}
	var list []cty.Value
	for _, r := range refs {
		if e, _ := l.decl["exporter"].index[r.parts[1]].(*Exporter); e != nil {
			list = append(list, e.value())
		}
	}
	if t, ok := unwrap(a.Expr).(*hclsyntax.TupleConsExpr); ok && len(t.Exprs) == 0 {
		l.errorf(a.Expr.Range(), "Empty list", "%q is empty, and so means no device at all. Name exporters, or remove it to mean all.", a.Name)
	}
	if len(list) == 0 {
		return null
	}
	out, err := convert.Convert(cty.ListVal(list), schema.Type)
	if err != nil {
		l.errorf(a.Expr.Range(), "Wrong type", "The plugin wants to know of an exporter what this version does not: %s. Use versions that belong together.", err)
		return null
	}
	return out
}

// checkAllowList sees that a capture that takes exporters has some where its
// pipeline may act: its datagrams can be forged by anybody.
func (l *loader) checkAllowList(p *Plugin, schema *host.Block) {
	takes := false
	for i := range schema.Attributes {
		a := &schema.Attributes[i]
		takes = takes || a.Name == exportersName && takesExporters(a)
	}
	if p.Kind != "capture" || !takes || !l.conf.canEnforce(p) {
		return
	}
	what := fmt.Sprintf("%s.%s.%s feeds a pipeline in mode \"enforce\"", p.Kind, p.Name, p.Instance)
	a := p.Body.(*hclsyntax.Body).Attributes[exportersName]
	if a == nil {
		l.errorf(p.Range, "Allow-list needed", "%s, but anybody can forge the datagrams it reads, and so have addresses blocked. Declare the devices that may send, exporter \"NAME\" { source = [...] }, and name them: exporters = [exporter.NAME].", what)
		return
	}
	for _, t := range a.Expr.Variables() {
		e, _ := l.decl["exporter"].index[nameUnder("exporter", t)].(*Exporter)
		if e == nil {
			continue
		}
		wide := len(e.Source) == 0
		for _, p := range e.Source {
			wide = wide || p.Bits() == 0
		}
		if wide {
			l.errorf(t.SourceRange(), "Allow-list needed", "%s, but exporter.%s lets anybody send. Give it the addresses that its datagrams come from: source = [\"192.0.2.1\"].", what, e.Name)
		}
	}
}

// canEnforce reports whether an attack in the pipeline of a capture may be
// acted upon.
func (c *Config) canEnforce(capture *Plugin) bool {
	for _, p := range c.Pipelines {
		for _, each := range p.Captures {
			if each != capture {
				continue
			}
			for _, g := range c.Groups {
				for _, t := range g.Thresholds {
					if c.acts(p, g, t) {
						return true
					}
				}
			}
		}
	}
	return false
}

// acts reports whether one of the actions of a threshold is in mode enforce.
func (c *Config) acts(p *Pipeline, g *HostGroup, t *Threshold) bool {
	actions := p.Actions
	if g.Actions != nil {
		actions = g.Actions
	}
	if t.Actions != nil {
		actions = t.Actions
	}
	for _, a := range actions {
		if c.EffectiveMode(g, t, a.Block) == Enforce {
			return true
		}
	}
	return false
}

// checkExporters warns about exporters that no capture names, and of captures
// that count the same traffic each.
func (l *loader) checkExporters() {
	if l.replay {
		return
	}
	used := map[string][]*Plugin{}
	for _, p := range l.conf.Captures {
		if b, ok := p.Body.(*hclsyntax.Body); ok && b.Attributes[exportersName] != nil {
			for _, t := range b.Attributes[exportersName].Expr.Variables() {
				name := nameUnder("exporter", t)
				used[name] = append(used[name], p)
			}
		}
	}
	first := map[string]*Plugin{} // capture that de-duplicates by a word
	for _, e := range l.conf.Exporters {
		if len(used[e.Name]) == 0 {
			l.hint(e.Range, "Unused exporter", "No capture names exporter.%s, so it has no effect. Name it in the captures that it sends to: exporters = [exporter.%s].", e.Name, e.Name)
		}
		for _, p := range used[e.Name] {
			if e.Deduplicate == "" {
				break
			}
			if one := first[e.Deduplicate]; one == nil {
				first[e.Deduplicate] = p
			} else if one != p {
				l.hint(e.Range, "De-duplicated in each capture apart", "exporter.%s and others with deduplicate = %q send to capture.%s.%s and to capture.%s.%s, each of which counts their traffic once: together they count it twice. "+
					"Let all of them send to one capture.", e.Name, e.Deduplicate, one.Name, one.Instance, p.Name, p.Instance)
				break
			}
		}
	}
}

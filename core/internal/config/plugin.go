package config

import (
	"math"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// processAttrs are the arguments of process that every kind has; processOnly
// those that one kind has.
var (
	processAttrs = []string{"path", "env", "user", "capabilities", "memory", "backoff", "max_backoff", "start_timeout", "timeout"}
	processOnly  = map[string][]string{"capture": {"standby_for"}, "filter": {"on_failure"}, "action": {"mode", "summaries", "on_stop"}, "export": {"period", "hosts"}}
)

// capabilities of Linux (capabilities(7)) that a plugin may be given.
var capabilities = []string{
	"CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_KILL", "CAP_LEASE",
	"CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_RAW", "CAP_PERFMON", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT",
	"CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG",
	"CAP_SYSLOG", "CAP_WAKE_ALARM",
}

// readPlugins reads the header and the process block of every plugin block.
// The rest stays as it is until the plugin has described its schema.
func (l *loader) readPlugins() {
	to := map[string]*[]*Plugin{"capture": &l.conf.Captures, "filter": &l.conf.Filters, "action": &l.conf.Actions, "export": &l.conf.Exports}
	for _, kind := range pluginKinds {
		for _, blk := range l.blocks[kind] {
			if !l.labels(blk, []string{"plugin", "instance"}) {
				continue
			}
			p := &Plugin{Kind: kind, Name: blk.Labels[0], Instance: blk.Labels[1], Range: blk.DefRange(), Context: l.eval}
			p.Body = l.readProcess(p, blk)
			*to[kind] = append(*to[kind], p)
			l.set(kind, p.Name+"."+p.Instance, p)
		}
	}
}

// readProcess reads process {} and returns the body without it.
func (l *loader) readProcess(p *Plugin, blk *hclsyntax.Block) hcl.Body {
	p.Process.Range = blk.DefRange()
	rest := *blk.Body
	rest.Blocks = nil
	if a := blk.Body.Attributes["process"]; a != nil {
		l.errorf(a.NameRange, "Reserved name", "\"process\" belongs to the core and is a block: write process { ... }.")
		rest.Attributes = hclsyntax.Attributes{}
		for name, other := range blk.Body.Attributes {
			if name != "process" {
				rest.Attributes[name] = other
			}
		}
	}
	var first *hclsyntax.Block
	for _, n := range blk.Body.Blocks {
		switch {
		case n.Type != "process":
			rest.Blocks = append(rest.Blocks, n)
		case first != nil:
			l.errorf(n.DefRange(), "Duplicate block", "%s already has a process block at %s. Merge the two.", header(blk), place(first.DefRange()))
		default:
			first = n
			l.readProcessBlock(p, n)
		}
	}
	return &rest
}

func (l *loader) readProcessBlock(p *Plugin, blk *hclsyntax.Block) {
	attrs := append(append([]string(nil), processAttrs...), processOnly[p.Kind]...)
	b := body{l: l, what: "the process block of " + aKind(p.Kind), Block: blk}
	l.labels(blk, nil)
	known := *blk.Body
	known.Attributes = hclsyntax.Attributes{}
	for name, a := range blk.Body.Attributes {
		if of := otherKind(name, p.Kind); of != "" {
			l.errorf(a.NameRange, "Misplaced argument", "%q belongs in the process block of %s, not of %s. Remove it.", name, aKind(of), aKind(p.Kind))
			continue
		}
		known.Attributes[name] = a
	}
	l.checkShape(&known, b.what, shape{attrs: attrs})

	pr := &p.Process
	pr.Range = blk.DefRange()
	if s, i, ok := b.str("path"); ok {
		if s == "" {
			l.errorf(i.at, "Invalid value", "\"path\" is empty. Name the plugin's program, or remove it to have it searched.")
		}
		pr.Path = l.path(s)
	}
	pr.Env = b.env("env")
	if s, i, ok := b.str("user"); ok {
		if s == "" {
			l.errorf(i.at, "Invalid value", "\"user\" is empty. Name a user, or remove it.")
		}
		pr.User = s
	}
	pr.Capabilities = b.capabilities("capabilities")
	pr.Memory = b.memory("memory")
	pr.Backoff, _ = b.duration("backoff")
	pr.MaxBackoff, _ = b.duration("max_backoff")
	if pr.Backoff > 0 && pr.MaxBackoff > 0 && pr.Backoff > pr.MaxBackoff {
		l.errorf(b.attr("max_backoff").Expr.Range(), "Invalid value", "max_backoff (%s) is shorter than backoff (%s). The delay grows from backoff up to max_backoff.", pr.MaxBackoff, pr.Backoff)
	}
	pr.StartTimeout, _ = b.duration("start_timeout")
	pr.Timeout, _ = b.duration("timeout")
	switch p.Kind {
	case "capture":
		if a := b.attr("standby_for"); a != nil {
			if r, ok := b.reference(a.Expr, "capture"); ok {
				pr.StandbyFor = r.String()
				l.standbys = append(l.standbys, standby{p, r})
			}
		}
	case "filter":
		pr.OnFailure, _ = b.choice("on_failure", "bypass", "drop", "stop")
	case "action":
		pr.Mode = b.mode("mode")
		p.Mode = pr.Mode
		if v := b.boolean("summaries"); v != nil {
			pr.Single = !*v
		}
		pr.OnStop, _ = b.choice("on_stop", OnStopKeep, OnStopWithdraw)
	case "export":
		pr.Period, _ = b.duration("period")
		pr.Hosts = b.hosts()
	}
}

// otherKind is the kind whose process block alone takes the argument, if that
// is another one than kind.
func otherKind(name, kind string) string {
	for k, attrs := range processOnly {
		if k != kind && has(attrs, name) {
			return k
		}
	}
	return ""
}

func (b body) capabilities(name string) (out []string) {
	texts, items, _ := b.strs(name)
	for n, s := range texts {
		if !has(capabilities, s) {
			b.l.errorf(items[n].at, "Unknown capability", "%s is not a capability of Linux, such as \"CAP_NET_RAW\".%s", items[n].text(), b.l.secretMeant(items[n], capabilities))
			continue
		}
		out = append(out, s)
	}
	return out
}

// maxHosts bounds a snapshot: some 250 octets for each host and direction.
const maxHosts = 100_000

// hosts is how many hosts an export gets: 0 unless it is said, -1 for none.
func (b body) hosts() int {
	i, ok := b.one("hosts")
	if !ok {
		return 0
	}
	n, ok := b.scaled(i, nil)
	if !ok || n != math.Trunc(n) || n < 0 || n > maxHosts {
		b.l.errorf(i.at, "Invalid number", "%s is no number of hosts: write a whole number from 1 to %d, or 0 for none but those under attack.", i.text(), maxHosts)
		return 0
	}
	if n == 0 {
		return -1
	}
	return int(n)
}

// leastMemory is what a plugin needs before it does anything.
const leastMemory = 64 << 20

// memory is what a plugin may use, in octets.
func (b body) memory(name string) uint64 {
	n, ok := b.size(name)
	if ok && n < leastMemory {
		b.l.errorf(b.attr(name).Expr.Range(), "Invalid size", "No plugin works with so little memory: %q takes 64MiB or more.", name)
	}
	return n
}

// env reads variables of a plugin's environment. The values may be secrets.
func (b body) env(name string) map[string]string {
	i, ok := b.one(name)
	if !ok {
		return nil
	}
	if ty := i.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		b.wrongType(i, name, `an object such as { NAME = "value" }`)
		return nil
	}
	out := map[string]string{}
	for it := i.ElementIterator(); it.Next(); {
		k, v := it.Element()
		v, _ = v.Unmark()
		key := k.AsString()
		if v.IsNull() || v.Type() != cty.String {
			b.l.errorf(i.at, "Wrong type", "The variable %q of %q needs a text in quotes.", key, name)
			continue
		}
		if !validEnv(key) {
			b.l.errorf(i.at, "Invalid value", "%q cannot be the name of an environment variable: use letters, digits and underscores.", key)
			continue
		}
		out[key] = v.AsString()
	}
	return out
}

// validEnv reports whether name can name an environment variable.
func validEnv(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// standby is a capture and the one that it stands by for.
type standby struct {
	p  *Plugin
	of ref
}

// checkStandbys refuses captures that nobody's silence would let count, and
// those that would count twice.
func (l *loader) checkStandbys(owner map[*Plugin]string) {
	taken := map[string]*Plugin{}
	for _, s := range l.standbys {
		of, _ := l.decl["capture"].index[strings.TrimPrefix(s.of.String(), "capture.")].(*Plugin)
		if of == nil {
			continue // its header is wrong, which was said
		}
		switch first := taken[s.of.String()]; {
		case of == s.p:
			l.errorf(s.of.at, "Standby for itself", "%s cannot wait for its own silence. Name another capture, or remove the line.", s.of)
		case of.Process.StandbyFor != "":
			l.errorf(s.of.at, "Standby for a standby", "%s counts only in the silence of %s, so nobody could tell its silence from its waiting. Name %s here.", s.of, of.Process.StandbyFor, of.Process.StandbyFor)
		case first != nil:
			l.errorf(s.of.at, "Two standbys for one capture", "capture.%s.%s stands by for %s already; together they would count the same traffic twice. Remove one of the two.", first.Name, first.Instance, s.of)
		case owner[s.p] != "" && owner[of] == "":
			l.errorf(s.of.at, "Standby for a capture without a pipeline", "%s feeds no pipeline, so it never runs and is always silent. Name it in a pipeline, or remove the line.", s.of)
		default:
			taken[s.of.String()] = s.p
		}
	}
}

// readPipelines wires plugins.
func (l *loader) readPipelines() {
	owner := map[*Plugin]string{}
	for _, blk := range l.blocks["pipeline"] {
		b := l.open(blk, "a pipeline", []string{"name"}, shape{attrs: []string{"captures", "filters", "actions", "exports"}})
		if !b.named {
			continue
		}
		p := &Pipeline{Name: blk.Labels[0], Range: blk.DefRange()}
		if !l.replay {
			captures, ats := b.plugins("captures", "capture")
			for i, c := range captures {
				if first, taken := owner[c]; taken {
					l.errorf(ats[i], "Capture in two pipelines", "capture.%s.%s already feeds pipeline.%s, and its traffic must not be counted twice. Remove it from one of them.", c.Name, c.Instance, first)
					continue
				}
				owner[c] = p.Name
				p.Captures = append(p.Captures, c)
			}
			if a := b.attr("captures"); a == nil {
				l.errorf(blk.DefRange(), "Pipeline without captures", "pipeline.%s has no traffic. Name its captures: captures = [capture.PLUGIN.INSTANCE].", p.Name)
			} else if t, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok && len(t.Exprs) == 0 {
				l.errorf(a.Expr.Range(), "Pipeline without captures", "pipeline.%s has no traffic. Name its captures: captures = [capture.PLUGIN.INSTANCE].", p.Name)
			}
		}
		p.Filters, _ = b.plugins("filters", "filter")
		p.Actions = b.actions("actions")
		p.Exports, _ = b.plugins("exports", "export")
		l.conf.Pipelines = append(l.conf.Pipelines, p)
	}
	if !l.replay {
		l.checkStandbys(owner)
	}
}

// checkPlugins warns about plugin blocks that nothing names.
func (l *loader) checkPlugins() {
	used := map[*Plugin]bool{}
	for _, p := range l.conf.Pipelines {
		for _, list := range [][]*Plugin{p.Captures, p.Filters, p.Exports} {
			for _, each := range list {
				used[each] = true
			}
		}
	}
	for _, r := range l.conf.references() {
		used[r.Block] = true
	}
	all := append(append(append([]*Plugin(nil), l.conf.Filters...), l.conf.Actions...), l.conf.Exports...)
	if !l.replay {
		all = append(all, l.conf.Captures...)
	}
	for _, p := range all {
		if !used[p] {
			l.hint(p.Range, "Unused "+p.Kind, "Nothing names %s.%s.%s, so it is not started. Name it in a pipeline: %ss = [%s.%s.%s].", p.Kind, p.Name, p.Instance, p.Kind, p.Kind, p.Name, p.Instance)
		}
	}
}

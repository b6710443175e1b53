package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// topBlocks are the blocks of the language, laterBlocks those that only a
// later version reads.
var (
	topBlocks   = []string{"locals", "daemon", "summary", "network", "counter", "exemption", "hostgroup", "exporter", "capture", "filter", "action", "export", "evidence", "history", "guard", "pipeline"}
	laterBlocks = []string{"required_plugins"}
)

// For how long a daemon knows how rates were.
const (
	DefaultBaseline = 7 * 24 * time.Hour

	minBaseline = time.Hour
	maxBaseline = 90 * 24 * time.Hour
)

// checkTop reads the language and refuses what is unknown at the top level.
func (l *loader) checkTop() {
	var first *hclsyntax.Attribute
	for _, a := range l.attrs {
		switch {
		case a.Name == "language" && first == nil:
			first = a
			l.readLanguage(a)
		case a.Name == "language":
			l.errorf(a.NameRange, "Duplicate argument", "The language is already given at %s. Keep one of them.", place(first.NameRange))
		case has(topBlocks, a.Name):
			l.errorf(a.NameRange, "Block expected", "%q is a block: write it without the equals sign, %s { ... }.", a.Name, a.Name)
		case has(laterBlocks, a.Name):
			l.later(a.NameRange, "The block "+quoted([]string{a.Name}))
		default:
			l.errorf(a.NameRange, "Unknown argument", "There is no argument %q at the top level, where only language = 1 stands beside blocks.%s", a.Name, l.meant(a.Name, append([]string{"language"}, topBlocks...), true))
		}
	}
	for kind, blocks := range l.blocks {
		if has(topBlocks, kind) {
			continue
		}
		for _, b := range blocks {
			switch {
			case has(laterBlocks, kind):
				l.later(b.DefRange(), "The block "+quoted([]string{kind}))
			case kind == "language":
				l.errorf(b.TypeRange, "Argument expected", "\"language\" is an argument, not a block: write language = 1.")
			case kind == "threshold" || kind == "process" || kind == "mitigation":
				inside := map[string]string{"threshold": "a hostgroup", "mitigation": "a hostgroup", "process": "the block of a plugin"}[kind]
				l.errorf(b.TypeRange, "Misplaced block", "A %s block stands inside %s. Is a closing brace before it one too many?", kind, inside)
			default:
				l.errorf(b.TypeRange, "Unknown block", "There is no block %q.%s", kind, l.meantOr(kind, topBlocks))
			}
		}
	}
}

func (l *loader) readLanguage(a *hclsyntax.Attribute) {
	i, ok := l.one(a.Expr)
	if !ok {
		return
	}
	if n, ok := whole(i.Value, 1, 1); ok {
		l.conf.Language = int(n)
		return
	}
	l.errorf(i.at, "Unknown language version", "This version reads language = 1, but the configuration asks for language %s. Use a newer FastNetMon, or write language = 1.", i.text())
}

// checkDuplicates refuses a second block of the same type and labels.
func (l *loader) checkDuplicates() {
	for _, kind := range topBlocks {
		if kind == "locals" {
			continue
		}
		seen := map[string]*hclsyntax.Block{}
		keep := l.blocks[kind][:0]
		for _, b := range l.blocks[kind] {
			key := strings.Join(b.Labels, "\x00")
			first, dup := seen[key]
			if !dup {
				seen[key] = b
				keep = append(keep, b)
				continue
			}
			advice := "Use another name, or merge the two."
			if len(b.Labels) == 0 {
				advice = "Merge the two."
			}
			l.errorf(b.DefRange(), "Duplicate block", "%s is already declared at %s. %s", header(b), place(first.DefRange()), advice)
		}
		l.blocks[kind] = keep
	}
}

// header writes a block's type and labels.
func header(b *hclsyntax.Block) string {
	s := b.Type
	for _, label := range b.Labels {
		s += fmt.Sprintf(" %q", label)
	}
	return s
}

// readDaemon reads the daemon block, which may be missing.
func (l *loader) readDaemon() {
	d := &l.conf.Daemon
	*d = Daemon{Mode: Monitor, StateDir: "/var/lib/fastnetmon", RuntimeDir: DefaultRuntimeDir, Baseline: DefaultBaseline}
	for _, blk := range l.blocks["daemon"] {
		b := l.open(blk, "the daemon block", nil, shape{attrs: []string{"mode", "state_dir", "runtime_dir", "memory_limit", "baseline"}})
		if m := b.mode("mode"); m != "" {
			d.Mode = m
		}
		b.dirPath("state_dir", &d.StateDir)
		b.dirPath("runtime_dir", &d.RuntimeDir)
		if n, ok := b.size("memory_limit"); ok {
			d.MemoryLimit = n
		}
		if v, ok := b.duration("baseline"); ok && (v < minBaseline || v > maxBaseline) {
			b.l.errorf(b.attr("baseline").Expr.Range(), "Duration out of range", "baseline takes 1h to 90d: for so long it is known how rates were, from which \"fastnetmon suggest\" makes limits.")
		} else if ok {
			d.Baseline = v
		}
	}
}

// Defaults of Summary.
const (
	summaryAttacks = 3
	summaryWithin  = time.Minute
	summaryUpdate  = 5 * time.Minute
)

// readSummary reads the summary block, which may be missing.
func (l *loader) readSummary() {
	s := &l.conf.Summary
	*s = Summary{Attacks: summaryAttacks, Within: summaryWithin, PrefixLen: [2]uint8{24, 48}, Update: summaryUpdate}
	for _, blk := range l.blocks["summary"] {
		b := l.open(blk, "the summary block", nil, shape{attrs: []string{"attacks", "within", "prefix_length", "update"}})
		if i, ok := b.one("attacks"); ok {
			n, fits := whole(i.Value, 0, 1_000_000)
			if !fits {
				l.errorf(i.at, "Invalid number", "%s is not a number of attacks: it takes 0 to 1000000, 0 meaning that each attack is told by itself.", i.text())
			}
			s.Attacks = int(n)
		}
		if d, ok := b.duration("within"); ok {
			s.Within = d
		}
		if d, ok := b.duration("update"); ok {
			s.Update = d
		}
		if n := b.prefixLengths("prefix_length"); n != [2]uint8{} {
			s.PrefixLen = n
		}
	}
}

// dirPath reads the name of a directory, relative to the configuration's.
func (b body) dirPath(name string, to *string) {
	s, i, ok := b.str(name)
	if !ok {
		return
	}
	if s == "" {
		b.l.errorf(i.at, "Invalid value", "%q is empty. Name a directory, or remove it for the default %s.", name, *to)
		return
	}
	*to = b.l.path(s)
}

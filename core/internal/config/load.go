package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Option changes how a configuration is loaded.
type Option func(*loader)

// ForReplay loads a configuration for a replay, which replaces all captures:
// pipelines need none, and what they name under captures is not looked at.
func ForReplay() Option { return func(l *loader) { l.replay = true } }

// ByDefaultRule loads a configuration as if no hostgroup said detection: limits
// are suggested for the default rule, and may be on any counter.
func ByDefaultRule() Option { return func(l *loader) { l.byDefault = true } }

// Load reads a configuration: a file, or a directory whose *.hcl files are
// read in the order of their names and count as one. The Config is never nil;
// where the diagnostics have errors it serves only for showing them (Files).
func Load(path string, opts ...Option) (*Config, hcl.Diagnostics) {
	l := newLoader(opts)
	info, err := os.Stat(path)
	if err != nil {
		l.fault(hcl.DiagError, nil, "Configuration not found", fmt.Sprintf("Cannot read %s: %s. Give the path of a file, or of a directory with *.hcl files.", path, cause(err)))
		return l.finish()
	}
	if !info.IsDir() {
		l.dir = filepath.Dir(path)
		l.addFile(path)
		return l.finish()
	}
	l.dir = path
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		l.fault(hcl.DiagError, nil, "Directory not readable", fmt.Sprintf("Cannot read %s: %s.", path, cause(err)))
		return l.finish()
	}
	found := false
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".hcl" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		found = true
		l.addFile(filepath.Join(path, e.Name()))
	}
	if !found {
		l.fault(hcl.DiagError, nil, "Empty directory", fmt.Sprintf("%s has no *.hcl file. Put the configuration there, or give another path.", path))
	}
	return l.finish()
}

// LoadBytes reads a configuration from src; name stands for it in
// diagnostics, and relative paths are taken from its directory.
func LoadBytes(name string, src []byte, opts ...Option) (*Config, hcl.Diagnostics) {
	l := newLoader(opts)
	l.dir = filepath.Dir(name)
	l.addSource(name, src)
	return l.finish()
}

// loader holds what is known while a configuration is read.
type loader struct {
	replay    bool
	byDefault bool             // hostgroups' detection is not looked at
	held      []*PrefixList    // in force, kept where their files lose much
	dir       string           // relative paths start here
	now       func() time.Time // for exemptions that have ended
	getenv    func(string) (string, bool)
	addresses func() ([]netip.Addr, error) // the machine's addresses

	conf   *Config
	diags  hcl.Diagnostics
	blocks map[string][]*hclsyntax.Block // by type, in order of declaration
	attrs  []*hclsyntax.Attribute        // top-level
	lists  map[string][]byte             // files of networks, by path
	inputs [][]byte                      // all that the revision covers
	bytes  int                           // of *.hcl files
	values int                           // size of all values evaluated

	eval *hcl.EvalContext
	decl map[string]*symbols // what references can name, by kind
	own  map[*HostGroup]*group

	standbys []standby
}

func newLoader(opts []Option) *loader {
	l := &loader{
		now:       time.Now,
		getenv:    os.LookupEnv,
		addresses: machineAddresses,
		conf:      &Config{Language: 1, Files: map[string]*hcl.File{}},
		blocks:    map[string][]*hclsyntax.Block{},
		lists:     map[string][]byte{},
		decl:      map[string]*symbols{},
		own:       map[*HostGroup]*group{},
	}
	for _, o := range opts {
		o(l)
	}
	return l
}

// fault adds a diagnostic.
func (l *loader) fault(sev hcl.DiagnosticSeverity, at *hcl.Range, summary, detail string) {
	l.diags = append(l.diags, &hcl.Diagnostic{Severity: sev, Summary: summary, Detail: detail, Subject: at})
}

func (l *loader) errorf(at hcl.Range, summary, format string, args ...any) {
	l.fault(hcl.DiagError, &at, summary, fmt.Sprintf(format, args...))
}

func (l *loader) warnf(at hcl.Range, summary, format string, args ...any) {
	l.fault(hcl.DiagWarning, &at, summary, fmt.Sprintf(format, args...))
}

func (l *loader) addFile(path string) {
	src, err := readRegular(path, maxFileBytes)
	if err != nil {
		l.fault(hcl.DiagError, nil, "File not readable", fmt.Sprintf("Cannot read %s: %s.", path, cause(err)))
		return
	}
	l.addSource(path, src)
}

// addSource parses one file and files its blocks by type.
func (l *loader) addSource(name string, src []byte) {
	l.inputs = append(l.inputs, src)
	l.conf.sources = append(l.conf.sources, source{name, src})
	l.conf.Files[name] = &hcl.File{Bytes: src}
	if l.bytes += len(src); l.bytes > maxTotalBytes {
		l.fault(hcl.DiagError, nil, "Configuration too large", fmt.Sprintf("The files of %s together have more than %d bytes. Put lists of prefixes into files of their own (network: files = [...]).", l.dir, maxTotalBytes))
		return
	}
	if d := guardSyntax(name, src); d.HasErrors() {
		l.diags = append(l.diags, d...)
		return
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	l.diags = append(l.diags, firstOfLine(diags)...)
	if file == nil || file.Body == nil {
		return
	}
	l.conf.Files[name] = file
	body := file.Body.(*hclsyntax.Body)
	if d := forbidLoops(body); d.HasErrors() {
		l.diags = append(l.diags, d...)
		return
	}
	l.attrs = append(l.attrs, sortedAttributes(body)...)
	for _, b := range body.Blocks {
		l.blocks[b.Type] = append(l.blocks[b.Type], b)
	}
}

// firstOfLine keeps one syntax error a line: further ones come of the first.
func firstOfLine(diags hcl.Diagnostics) (out hcl.Diagnostics) {
	line := 0
	for _, d := range diags {
		if d.Subject == nil || d.Subject.Start.Line != line {
			out = append(out, d)
		}
		if d.Subject != nil {
			line = d.Subject.Start.Line
		}
	}
	return out
}

// finish turns the blocks into a Config. After a syntax error the rest is not
// looked at: it would only be complained about for what the parser lost.
func (l *loader) finish() (*Config, hcl.Diagnostics) {
	if !l.diags.HasErrors() {
		l.resolve()
	}
	l.conf.Revision, l.conf.decl = revision(l.inputs), l.decl
	l.conf.dir, l.conf.replay = l.dir, l.replay
	if dir, err := filepath.Abs(l.dir); err == nil {
		l.conf.Dir = dir
	}
	diags := tidy(l.diags)
	for _, d := range diags {
		if d.Subject != nil && l.lists[d.Subject.Filename] != nil {
			l.conf.Files[d.Subject.Filename] = &hcl.File{Bytes: l.lists[d.Subject.Filename]}
		}
	}
	return l.conf, diags
}

// resolve reads the blocks, those first that others refer to.
func (l *loader) resolve() {
	l.checkTop()
	l.checkDuplicates()
	l.declare()
	l.readLocals()
	l.readDaemon()
	l.readEvidence()
	l.readGuard()
	l.readHistory()
	l.readSummary()
	l.readNetworks()
	l.readCounters()
	l.readExemptions()
	l.readExporters()
	l.readPlugins()
	l.readGroups()
	l.readPipelines()
	l.checkSpace()
	l.checkCounters()
	l.checkPlugins()
	l.checkExporters()
}

// revision hashes the inputs in order; each is preceded by its length, so
// that moving a line from one file to the next is another revision.
func revision(inputs [][]byte) string {
	h := sha256.New()
	for _, in := range inputs {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(in))))
		h.Write(in)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// hint warns about what no other block names or covers. After an error it says
// nothing: the error is the likely reason.
func (l *loader) hint(at hcl.Range, summary, format string, args ...any) {
	if !l.diags.HasErrors() {
		l.warnf(at, summary, format, args...)
	}
}

// tidy orders diagnostics by place, drops repetitions and caps their number.
func tidy(diags hcl.Diagnostics) hcl.Diagnostics {
	for _, d := range diags {
		d.Expression, d.EvalContext = nil, nil // they hold values, secrets among them
	}
	sort.SliceStable(diags, func(i, j int) bool { return before(diags[i], diags[j]) })
	var out hcl.Diagnostics
	for _, d := range diags {
		if n := len(out); n > 0 && !before(out[n-1], d) && !before(d, out[n-1]) {
			continue
		}
		out = append(out, d)
	}
	if n := len(out) - maxDiagnostics; n > 0 {
		// Errors are not to hide behind warnings.
		sort.SliceStable(out, func(i, j int) bool { return out[i].Severity < out[j].Severity })
		out = append(out[:maxDiagnostics:maxDiagnostics], &hcl.Diagnostic{
			Severity: out[0].Severity,
			Summary:  "Too many faults",
			Detail:   fmt.Sprintf("%d more are not shown. Correct those above first.", n),
		})
	}
	return out
}

// before is the order in which diagnostics are shown.
func before(a, b *hcl.Diagnostic) bool {
	switch {
	case a.Subject == nil || b.Subject == nil:
		if (a.Subject == nil) != (b.Subject == nil) {
			return a.Subject == nil
		}
	case a.Subject.Filename != b.Subject.Filename:
		return a.Subject.Filename < b.Subject.Filename
	case a.Subject.Start.Byte != b.Subject.Start.Byte:
		return a.Subject.Start.Byte < b.Subject.Start.Byte
	}
	if a.Severity != b.Severity {
		return a.Severity < b.Severity
	}
	if a.Summary != b.Summary {
		return a.Summary < b.Summary
	}
	return a.Detail < b.Detail
}

// readRegular reads a regular file of at most limit bytes. Devices and pipes
// are refused: reading them may never end.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("it is a directory")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, nil
}

// cause is err without the operation and path that os puts before it.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// path makes p relative to the configuration's directory.
func (l *loader) path(p string) string { return inDir(l.dir, p) }

func inDir(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// sortedAttributes lists a body's attributes in order of appearance.
func sortedAttributes(b *hclsyntax.Body) []*hclsyntax.Attribute {
	out := make([]*hclsyntax.Attribute, 0, len(b.Attributes))
	for _, a := range b.Attributes {
		out = append(out, a)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].NameRange.Start.Byte < out[j].NameRange.Start.Byte })
	return out
}

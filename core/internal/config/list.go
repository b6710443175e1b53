package config

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// PrefixList is a list of prefixes that lies outside the configuration's own
// files, and may change while it is in force.
type PrefixList struct {
	Path     string // MachineAddresses: no file, but the machine's own addresses
	Prefixes []netip.Prefix
	Held     string // why the list differs from what the file says now; "": it does not

	read func() ([]byte, error)
	seen string // fingerprint when it was read
}

// MachineAddresses is the Path of the list of the machine's own addresses.
const MachineAddresses = "addresses of this machine"

// Holding keeps lists that are in force where their files are gone, empty, or
// have lost half of their prefixes: that is more often an accident than meant,
// and what is not in a list is not protected.
func Holding(lists []*PrefixList) Option { return func(l *loader) { l.held = lists } }

// source is a file that a configuration was loaded from.
type source struct {
	name string
	src  []byte
}

// Fingerprint changes whenever what the list was read from does. It reads a
// file only where its size says nothing, as in /proc.
func (p *PrefixList) Fingerprint() string {
	if p.Path != MachineAddresses {
		info, err := os.Stat(p.Path)
		if err != nil {
			return "unreadable"
		}
		if info.Size() > 0 {
			return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
	}
	data, err := p.read()
	if err != nil {
		return "unreadable"
	}
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprint(len(data), h.Sum64())
}

// Changed tells whether the file is another than the one that was read, and
// how it is recognised.
func (p *PrefixList) Changed() (now string, changed bool) {
	now = p.Fingerprint()
	return now, now != p.seen
}

// Relist is the configuration with its lists of prefixes read anew, and
// nothing else: its own files are taken as they were. Its plugin blocks are
// those of c. With errors the result is not to be used.
func (c *Config) Relist(opts ...Option) (*Config, hcl.Diagnostics) {
	l := newLoader(opts)
	l.dir, l.replay = c.dir, c.replay
	for _, s := range c.sources {
		l.addSource(s.name, s.src)
	}
	fresh, diags := l.finish()
	next := *c
	next.Networks, next.Exemptions, next.Groups, next.Lists = fresh.Networks, fresh.Exemptions, fresh.Groups, fresh.Lists
	next.Files, next.bodies, next.Revision = fresh.Files, fresh.bodies, fresh.Revision
	for _, g := range next.Groups {
		c.ownBlocks(g.Actions)
		for _, t := range g.Thresholds {
			c.ownBlocks(t.Actions)
		}
	}
	return &next, diags
}

// ownBlocks makes references point to the configuration's own blocks.
func (c *Config) ownBlocks(refs []Reference) {
	for i := range refs {
		for _, a := range c.Actions {
			if a.Name == refs[i].Plugin && a.Instance == refs[i].Instance {
				refs[i].Block = a
			}
		}
	}
}

// prefixFiles reads the lists that an attribute names.
func (b body) prefixFiles(name string) (paths []string, out []prefixAt) {
	files, items, _ := b.strs(name)
	for k, f := range files {
		list := b.l.prefixFile(filepath.Clean(b.l.path(f)), items[k].at)
		paths = append(paths, b.l.path(f))
		for _, p := range list.Prefixes {
			out = append(out, prefixAt{p, items[k].at, true})
		}
	}
	return paths, out
}

// prefixFile reads a list of prefixes, once however often it is named.
func (l *loader) prefixFile(path string, at hcl.Range) *PrefixList {
	return l.list(path, at, func() ([]byte, error) {
		data, err := readRegular(path, maxListBytes)
		if err == nil && bytes.IndexByte(data, 0) >= 0 {
			err = errors.New("it contains a zero byte, so it is not a text file")
		}
		return data, err
	})
}

// machineList is the list of the machine's addresses, one a line.
func (l *loader) machineList() *PrefixList {
	return l.list(MachineAddresses, hcl.Range{}, func() ([]byte, error) {
		addrs, err := l.addresses()
		var b bytes.Buffer
		for _, a := range addrs {
			fmt.Fprintln(&b, a)
		}
		return b.Bytes(), err
	})
}

func (l *loader) list(path string, at hcl.Range, read func() ([]byte, error)) *PrefixList {
	if i := slices.IndexFunc(l.conf.Lists, func(p *PrefixList) bool { return p.Path == path }); i >= 0 {
		return l.conf.Lists[i]
	}
	list := &PrefixList{Path: path, read: read}
	list.seen = list.Fingerprint() // before it is read: a change meanwhile is one
	data, err := read()
	if err == nil {
		l.lists[path] = data
		list.Prefixes = l.parseList(path, data)
	}
	switch before := l.inForce(path); {
	case before != nil && err != nil:
		list.Prefixes = before.Prefixes
		list.Held = fmt.Sprintf("it cannot be read (%s); the %d prefixes that it had are kept", cause(err), len(before.Prefixes))
	case before != nil && len(before.Prefixes) > 0 && 2*len(list.Prefixes) <= len(before.Prefixes):
		list.Held = fmt.Sprintf("it has %d prefixes and had %d, which are kept", len(list.Prefixes), len(before.Prefixes))
		list.Prefixes = before.Prefixes
	case err != nil:
		l.errorf(at, "File not readable", "Cannot read the list of prefixes %s: %s.", path, cause(err))
	}
	l.conf.Lists = append(l.conf.Lists, list)
	l.inputs = append(l.inputs, []byte(fmt.Sprint(list.Prefixes)))
	return list
}

// inForce is the list of a path that the configuration before has, or nil.
func (l *loader) inForce(path string) *PrefixList {
	if i := slices.IndexFunc(l.held, func(p *PrefixList) bool { return p.Path == path }); i >= 0 {
		return l.held[i]
	}
	return nil
}

// listFaults are what a list may have and the original reads all the same: one
// warning for each kind, at the first such line.
type listFaults struct {
	masked, repeated     int
	maskedAt, repeatedAt hcl.Range
}

// parseList reads a list of prefixes: one a line, # begins a comment; or
// OpenVZ's /proc/vz/veip, addresses with the number of their container behind
// them under a line with the version.
func (l *loader) parseList(path string, data []byte) (out []netip.Prefix) {
	faults, bad, start, containers := listFaults{}, 0, 0, false
	seen := map[netip.Prefix]bool{}
	for line := 1; start < len(data) && bad <= maxDiagnostics; line++ {
		end := start + bytes.IndexByte(data[start:], '\n')
		if end < start {
			end = len(data)
		}
		raw := data[start:end]
		text, _, _ := bytes.Cut(raw, []byte{'#'})
		text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\uFEFF")))
		containers = containers || len(out) == 0 && bytes.HasPrefix(text, []byte("Version"))
		if len(text) > 0 && !bytes.HasPrefix(text, []byte("Version")) {
			col := bytes.Index(raw, text)
			where := hcl.Range{
				Filename: path, Start: hcl.Pos{Line: line, Column: 1 + col, Byte: start + col},
				End: hcl.Pos{Line: line, Column: 1 + col + len(text), Byte: start + col + len(text)},
			}
			p, masked, err := parseListed(string(text), containers)
			if err != nil {
				bad++
				l.errorf(where, "Invalid prefix", "%s is not a prefix: %s. A list has one prefix a line; # begins a comment.", item{Value: cty.StringVal(string(text))}.text(), err)
			} else {
				faults.note(masked, seen[p], where)
				if !seen[p] {
					out = append(out, p)
				}
				seen[p] = true
			}
		}
		start = end + 1
	}
	if faults.masked > 0 {
		l.warnf(faults.maskedAt, "Bits behind the length", "%d prefixes of this list, this one first, have bits set behind their length. They are read without those bits.", faults.masked)
	}
	if faults.repeated > 0 && !containers {
		l.warnf(faults.repeatedAt, "Duplicate prefix", "%d prefixes of this list, this one first, stand in it more than once.", faults.repeated)
	}
	return out
}

func (f *listFaults) note(masked, repeated bool, at hcl.Range) {
	if masked {
		if f.masked++; f.masked == 1 {
			f.maskedAt = at
		}
	}
	if repeated {
		if f.repeated++; f.repeated == 1 {
			f.repeatedAt = at
		}
	}
}

// parseListed reads a line of a list. Unlike in the configuration itself bits
// behind the length are tolerated, as is IPv4 inside IPv6: such lists exist,
// and the original reads them.
func parseListed(s string, container bool) (p netip.Prefix, masked bool, err error) {
	if f := strings.Fields(s); container && len(f) == 2 {
		if _, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			s = f[0]
		}
	}
	if p, err := netip.ParsePrefix(s); err == nil && (p != p.Masked() || p.Addr().Is4In6()) {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if !p.Addr().Is4In6() {
			return p.Masked(), p != p.Masked(), nil
		}
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4In6() {
		s = a.Unmap().String()
	}
	p, err = parsePrefix(s)
	return p, false, err
}

// machineAddresses lists the addresses of this machine that others can send
// to: no loopback and no link-local ones, and none of OpenVZ's venet0, which
// are the containers'.
func machineAddresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 || i.Name == "venet0" {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.IsGlobalUnicast() {
					out = append(out, ip.Unmap())
				}
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

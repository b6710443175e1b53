package config

import (
	"bytes"
	"errors"
	"net/netip"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// readNetworks reads our own address space.
func (l *loader) readNetworks() {
	owner := map[netip.Prefix]string{}
	for _, blk := range l.blocks["network"] {
		b := l.open(blk, "a network", []string{"name"}, shape{attrs: []string{"prefixes", "files", "internal"}})
		if !b.named {
			continue
		}
		n := &Network{Name: blk.Labels[0], Range: blk.DefRange()}
		list := b.prefixes("prefixes")
		files, items, _ := b.strs("files")
		for k, f := range files {
			n.Files = append(n.Files, l.path(f))
			list = append(list, l.prefixFile(f, items[k])...)
		}
		for _, p := range list {
			if other, dup := owner[p.Prefix]; dup && other == n.Name {
				l.errorf(p.at, "Duplicate prefix", "%s is already in this network. Remove one.", p.Prefix)
				continue
			} else if dup {
				l.errorf(p.at, "Prefix in two networks", "%s is already in network.%s. An address belongs to one network: remove the prefix from one of them.", p.Prefix, other)
				continue
			}
			owner[p.Prefix] = n.Name
			n.Prefixes = append(n.Prefixes, p.Prefix)
		}
		if b.attr("prefixes") == nil && b.attr("files") == nil && len(blk.Body.Blocks) == 0 {
			l.errorf(blk.DefRange(), "Network without prefixes", "network.%s has neither prefixes nor files. Write prefixes = [\"203.0.113.0/24\"] with your own addresses.", n.Name)
		}
		if items, n := b.items("prefixes"); n == 0 && len(items) == 0 && len(files) == 0 {
			b.notEmpty("prefixes", n)
		}
		internal, _ := b.choice("internal", "ignore", "count")
		n.CountInternal = internal == "count"
		if len(n.Prefixes) == 0 {
			l.hint(n.Range, "Empty network", "The files of network.%s hold no prefix, so it covers nothing. Write your own addresses into them, one prefix a line.", n.Name)
		}
		l.conf.Networks = append(l.conf.Networks, n)
		l.set("network", n.Name, n)
	}
}

// prefixFile reads a list of prefixes: one a line, # begins a comment.
func (l *loader) prefixFile(name string, at item) (out []prefixAt) {
	path := filepath.Clean(l.path(name))
	data, err := readRegular(path, maxListBytes)
	if err == nil && bytes.IndexByte(data, 0) >= 0 {
		err = errors.New("it contains a zero byte, so it is not a text file")
	}
	if err != nil {
		l.errorf(at.at, "File not readable", "Cannot read the list of prefixes %s: %s.", path, cause(err))
		return nil
	}
	l.inputs = append(l.inputs, data)
	l.lists[path] = data
	faults, start := 0, 0
	for line := 1; start < len(data) && faults <= maxDiagnostics; line++ {
		end := start + bytes.IndexByte(data[start:], '\n')
		if end < start {
			end = len(data)
		}
		raw := data[start:end]
		text, _, _ := bytes.Cut(raw, []byte{'#'})
		text = bytes.TrimSpace(text)
		if len(text) > 0 {
			col := bytes.Index(raw, text)
			where := hcl.Range{
				Filename: path, Start: hcl.Pos{Line: line, Column: 1 + col, Byte: start + col},
				End: hcl.Pos{Line: line, Column: 1 + col + len(text), Byte: start + col + len(text)},
			}
			p, err := parsePrefix(string(text))
			if err == nil {
				out = append(out, prefixAt{p, where})
			} else {
				faults++
				l.errorf(where, "Invalid prefix", "%s is not a prefix: %s. A list has one prefix a line; # begins a comment.", item{Value: cty.StringVal(string(text))}.text(), err)
			}
		}
		start = end + 1
	}
	return out
}

package main

import (
	"net/netip"
	"path/filepath"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
)

// Values of match.
const (
	matchSource      = "source"
	matchDestination = "destination"
	matchEither      = "either"
)

type config struct {
	Prefixes []string `hcl:"prefixes,optional" doc:"prefixes and addresses"`
	Files    []string `hcl:"files,optional" doc:"lists of prefixes, one a line, read again when they change"`
	Except   []string `hcl:"except,optional" doc:"prefixes that are not meant, though the lists hold them"`
	Match    string   `hcl:"match,optional" doc:"whose address is looked up: source, destination or either"`
	Then     string   `hcl:"then,optional" doc:"what becomes of a record that matches: drop, keep (all others are dropped) or mark"`
	Class    *int     `hcl:"class,optional" doc:"with mark: the class, 0 to 63, which a counter may ask for"`
	Hold     bool     `hcl:"hold,optional" doc:"keep a list whose file is gone, cannot be read or has lost half of its prefixes"`
}

const maxFiles = 256

// check holds what the schema cannot.
func (c *config) check() (ds diag.Diagnostics) {
	attr := diag.Path{}.Attr
	switch c.Match {
	case matchSource, matchDestination, matchEither:
	default:
		ds = append(ds, diag.Errorf(attr("match"), "Unknown value", "match is %q; write %q, %q or %q.", c.Match, matchSource, matchDestination, matchEither))
	}
	switch {
	case len(c.Prefixes)+len(c.Files) == 0:
		ds = append(ds, diag.Errorf(nil, "No prefixes", "The filter has no list. Write prefixes = [\"198.51.100.0/24\"], or files = [...]."))
	case len(c.Files) > maxFiles:
		ds = append(ds, diag.Errorf(attr("files").Index(maxFiles), "Too many files", "There are %d files; at most %d are read. Put lists together.", len(c.Files), maxFiles))
	}
	return ds
}

// parse reads the prefixes of an attribute.
func parse(name string, texts []string) (out []netip.Prefix, ds diag.Diagnostics) {
	for i, s := range texts {
		p, err := prefix.Parse(s)
		if err != nil {
			ds = append(ds, diag.Errorf(diag.Path{}.Attr(name).Index(i), "Invalid prefix", "%q is not a prefix: %v.", s, err))
			continue
		}
		out = append(out, p)
	}
	return out, ds
}

// load reads the files, each once.
func load(paths []string) (files []*prefix.File, ds diag.Diagnostics) {
	seen := map[string]bool{}
	for i, path := range paths {
		path = filepath.Clean(path)
		if seen[path] {
			continue
		}
		seen[path] = true
		f := &prefix.File{Path: path}
		if err := f.Load(); err != nil {
			ds = append(ds, diag.Errorf(diag.Path{}.Attr("files").Index(i), "List not readable", "%v.", err))
			continue
		}
		files = append(files, f)
	}
	return files, ds
}

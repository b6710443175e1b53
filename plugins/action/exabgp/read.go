package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/announce"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// settings is a configuration, read.
type settings struct {
	config
	profiles announce.Profiles
}

// reader gathers what is wrong with a configuration.
type reader struct {
	ds      diag.Diagnostics
	localAS uint32
}

func (r *reader) fail(path diag.Path, summary, detail string, args ...any) {
	r.ds = append(r.ds, diag.Errorf(path, summary, detail, args...))
}

// read checks a configuration. It opens nothing.
func read(c config) (*settings, error) {
	s, r, root := &settings{config: c}, &reader{localAS: c.LocalAS}, diag.Path{}
	switch {
	case c.Pipe == "" && c.CLI == "":
		r.fail(root, "No pipe", `Write pipe = "/run/exabgp.cmd" for a named pipe that a process of ExaBGP's reads, or cli = "/run/exabgp/exabgp" for its CLI's pipes.`)
	case c.Pipe != "" && c.CLI != "":
		r.fail(root.Attr("cli"), "Two ways", "Write pipe or cli, not both.")
	}
	if c.Refresh < time.Second || c.Refresh > 24*time.Hour {
		r.fail(root.Attr("refresh"), "Duration out of range", "%s is not between 1s and 24h.", c.Refresh)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		r.fail(root.Attr("timeout"), "Duration out of range", "%s is not between 100ms and 1m.", c.Timeout)
	}
	for i, a := range c.Neighbors {
		if a.IsUnspecified() {
			r.fail(root.Attr("neighbors").Index(i), "Not an address", "%s is nobody's address.", a)
		}
	}
	if len(c.Announce) == 0 {
		r.fail(root, "Nothing to announce", `Write at least one announce "name" {} block.`)
	}
	at := func(i int) diag.Path { return root.Attr("announce").Index(i) }
	profiles, ds := announce.Read(c.Announce, at)
	s.profiles, r.ds = profiles, append(r.ds, ds...)
	for i := range c.Announce {
		r.told(at(i), &c.Announce[i], profiles[c.Announce[i].Name])
	}
	return s, r.ds.Err()
}

// told checks what ExaBGP can be told of a profile.
func (r *reader) told(path diag.Path, b *announce.Block, p *announce.Profile) {
	if b.ASPathPrepend > 0 && r.localAS == 0 {
		r.fail(path.Attr("as_path_prepend"), "No AS number", "Which number is put in front? Write local_as beside the announce blocks.")
	}
	for i, s := range b.ExtendedCommunities {
		if e, err := announce.ParseExtended(s); err == nil && e.IsColor() {
			r.fail(path.Attr("extended_communities").Index(i), "Bad community", "%v.", errColor)
		}
	}
	if _, err := actionText(&p.Action); err != nil {
		r.fail(path.Attr("redirect"), "Bad redirection", "%v.", err)
	}
}

package main

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

//go:embed lua/common.lua
var commonLua string

// maxRead is the size of a file that a script may read.
const maxRead = 16 << 20

// engine is one Lua state with a script in it: of one worker.
type engine interface {
	// run judges the records from first on, dropped ones by their verdict. After
	// an error of the script it returns the index of the record that it was about.
	run(batch []traffic.Record, first int) (at int, err error)
	// used is how many octets the state holds, 0 where that is not known.
	used() uint64
	close()
}

// host is what an engine offers to scripts beside Lua.
type host struct {
	print    func(string)
	exporter func(index uint32) netip.Addr // nil: nobody knows them
}

// agent is the address of an exporter as text, "" where it is not known.
func (h *host) agent(index uint32) string {
	if h.exporter == nil || index == 0 {
		return ""
	}
	if a := h.exporter(index); a.IsValid() {
		return a.String()
	}
	return ""
}

// read reads a file for a script.
func (h *host) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err == nil && len(data) > maxRead {
		err = fmt.Errorf("%s has more than %d MiB", path, maxRead>>20)
	}
	return data, err
}

// prefixes reads the prefixes of a set, one a line, and those of a file.
func (h *host) prefixes(text, file string) ([]netip.Prefix, error) {
	list, err := prefix.ParseList([]byte(text))
	if err != nil {
		var e *prefix.ListError
		if errors.As(err, &e) {
			return nil, fmt.Errorf("prefixes: %q is not a prefix: %s", e.Text, e.Reason)
		}
		return nil, err
	}
	if file == "" {
		return list, nil
	}
	f := prefix.File{Path: file}
	if err := f.Load(); err != nil {
		return nil, fmt.Errorf("prefixes: %w", err)
	}
	return append(list, f.Prefixes...), nil
}

// span is the addresses from … to.
type span struct{ from, to [2]uint64 }

// mapped is where IPv4 addresses lie, ::ffff:0:0/96.
var mapped = span{[2]uint64{0, 0xffff << 32}, [2]uint64{0, 0xffff<<32 | 0xffffffff}}

// spans makes sorted ranges of prefixes that do not overlap.
func spans(list []netip.Prefix) []span {
	var out []span
	for _, p := range list {
		a, length := p.Addr().As16(), p.Bits()
		if p.Addr().Is4() {
			length += 96
		}
		from := [2]uint64{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
		// Shifts by 64 and more give 0 in Go.
		to := [2]uint64{from[0] | ^uint64(0)>>length, from[1] | ^uint64(0)}
		if length > 64 {
			to[1] = from[1] | ^uint64(0)>>(length-64)
		}
		if p.Addr().Is6() && length < 96 && slices.Compare(from[:], mapped.from[:]) <= 0 && slices.Compare(to[:], mapped.to[:]) >= 0 {
			// IPv4 addresses, which records hold mapped, lie in no IPv6 prefix.
			out = append(out, span{from, [2]uint64{0, mapped.from[1] - 1}})
			from = [2]uint64{0, mapped.to[1] + 1}
		}
		out = append(out, span{from, to})
	}
	slices.SortFunc(out, func(a, b span) int { return slices.Compare(a.from[:], b.from[:]) })
	n := 0
	for _, s := range out {
		if n > 0 && slices.Compare(s.from[:], out[n-1].to[:]) <= 0 {
			if slices.Compare(s.to[:], out[n-1].to[:]) > 0 {
				out[n-1].to = s.to
			}
			continue
		}
		out[n] = s
		n++
	}
	return out[:n]
}

package exporter

import (
	"bytes"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// clocks are a test's own.
type clocks struct{ now, wall atomic.Int64 }

func (c *clocks) pass(d time.Duration) {
	c.now.Add(int64(d))
	c.wall.Add(int64(d))
}

// set makes a set with its own clocks and log.
func set(t testing.TB, o Options) (*Set, *clocks, *bytes.Buffer) {
	t.Helper()
	c := &clocks{}
	c.now.Store(1)
	c.wall.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	o.Now, o.Wall = c.now.Load, c.wall.Load
	log := &bytes.Buffer{}
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
	s, err := NewSet(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, log
}

func id(source string, domain uint32) ID {
	return ID{Source: netip.MustParseAddrPort(source), Domain: domain, Version: 9}
}

func find(t testing.TB, v *View, id ID) *Exporter {
	t.Helper()
	e, r := v.Find(id)
	if r != None {
		t.Fatalf("%v: %v", id, r)
	}
	return e
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func dst(s string) *[16]byte {
	a := netip.MustParseAddr(s).As16()
	return &a
}

// cells maps the columns of the row of one exporter.
func row(t testing.TB, s *Set, e *Exporter) map[string]string {
	t.Helper()
	rows := s.Rows()
	for _, r := range rows.Rows {
		if len(r) != len(rows.Columns) {
			t.Fatalf("%d cells for %d columns", len(r), len(rows.Columns))
		}
		if r[1] == e.ID().Source.String() && r[5] == number(uint64(e.ID().Domain)) {
			out := map[string]string{}
			for i, c := range rows.Columns {
				out[c] = r[i]
			}
			return out
		}
	}
	t.Fatalf("no row for %v", e.ID())
	return nil
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// Table gives the rows of "fastnetmon exporters" and of this capture's part of
// doctor.
func (c *capture) Table(_ context.Context, name string) (sdk.Rows, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.set.Table(name, c.conns, c.forward)
	if err == nil && name == exporter.TableDoctor {
		rows.Rows = append(rows.Rows, c.doctor()...)
	}
	return rows, err
}

// doctor checks what only the decoder knows: for which causes records do not
// count, and what waits for templates.
func (c *capture) doctor() (rows [][]string) {
	t := c.total()
	say := func(check, state, format string, args ...any) {
		rows = append(rows, []string{check, state, fmt.Sprintf(format, args...)})
	}
	worst, lost := "", uint64(0)
	var most uint64
	for i, name := range c.Causes() {
		if i == int(lostSocket) { // the socket's row tells
			continue
		}
		lost += t.lost[i]
		if t.lost[i] > most {
			most, worst = t.lost[i], name
		}
	}
	switch {
	case t.records == 0 && lost > 0:
		say("decoded", exporter.StateFault, "no record of %d datagrams counts, most often for the cause %s (%d): the plugin's README explains it", t.datagrams, worst, most)
	case lost > t.records/100:
		say("decoded", exporter.StateWarn, "%d records count, %d do not, most often for the cause %s (%d): the plugin's README explains it", t.records, lost, worst, most)
	}
	switch held, missing := c.held.Load(), t.lost[lostNoTemplate]; {
	case missing > 0:
		say("templates", exporter.StateWarn, "%d sets of data have waited %d seconds in vain for their templates: let the exporters announce them every minute or two", missing, holdTime/time.Second)
	case held > 0:
		say("templates", exporter.StateWarn, "%d octets of data wait for their templates", held)
	}
	return rows
}

// totalStats is what all workers have done.
type totalStats struct {
	datagrams, records uint64
	lost               [causes]uint64
}

func (c *capture) total() (t totalStats) {
	for i := range c.stats {
		s := &c.stats[i]
		t.datagrams += s.datagrams.Load()
		t.records += s.records.Load()
		for k := range t.lost {
			t.lost[k] += s.lost[k].Load()
		}
	}
	return t
}

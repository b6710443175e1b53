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
	lost, left := t.tell(c.Causes()[:causes])
	worst := lost
	if lost.n == 0 {
		worst = left
	}
	switch {
	case t.datagrams > 0 && t.lost[lostVersion] == t.datagrams:
		say("decoded", exporter.StateFault, "none of %d datagrams is NetFlow v5, v9 or IPFIX: see what the devices send to this port; sFlow belongs to the capture sflow", t.datagrams)
	case t.records == 0 && worst.n > 0:
		say("decoded", exporter.StateFault, "no record of %d datagrams counts, most often for the cause %s (%d): %s", t.datagrams, worst.name, worst.most, worst.advice())
	case lost.n > t.records/100:
		say("decoded", exporter.StateWarn, "%d records count, %d do not, most often for the cause %s (%d): %s", t.records, lost.n, worst.name, worst.most, worst.advice())
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

// reasons is why records do not count: how many, and the most frequent cause.
type reasons struct {
	n, most uint64
	cause   cause
	name    string
}

func (r *reasons) add(c cause, name string, n uint64) {
	r.n += n
	if n > r.most {
		r.most, r.cause, r.name = n, c, name
	}
}

// advice says what to do about the most frequent cause.
func (r *reasons) advice() string {
	if r.cause == lostVersion {
		return "they are neither NetFlow v5 nor v9 nor IPFIX; sFlow belongs to the capture sflow"
	}
	return "the plugin's README explains it"
}

// tell sorts the causes into losses and what is left out because somebody
// wants it so, or because it tells of no traffic.
func (t *totalStats) tell(names []string) (lost, left reasons) {
	for i, name := range names {
		switch c := cause(i); c {
		case lostSocket: // the socket's row tells
		case lostDirection, lostInterface, lostDuplicate, lostNAT, lostFirewall:
			left.add(c, name, t.lost[i])
		default:
			lost.add(c, name, t.lost[i])
		}
	}
	return lost, left
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// Table gives the rows of "fastnetmon exporters" and this capture's part of
// doctor, the prefixes that records come from and go to, and what became of
// forwarded datagrams.
func (c *capture) Table(_ context.Context, name string) (sdk.Rows, error) {
	if !c.replay {
		c.clock.Read() // nothing may have come for long
	}
	rows, err := c.set.Table(name, c.conns, c.forward)
	switch {
	case err != nil:
		return rows, err
	case name == exporter.TableExporters:
		c.addTallies(&rows)
	case name == exporter.TableDoctor:
		c.addChecks(&rows)
		c.addPools(&rows)
	}
	return rows, nil
}

// addTallies adds to the table of exporters what their samples say.
func (c *capture) addTallies(rows *sdk.Rows) {
	type key struct{ address, agent, domain string }
	tallies := map[key]tally{}
	for _, e := range c.set.All() {
		id := e.ID()
		k := key{id.Source.String(), "", strconv.FormatUint(uint64(id.Domain), 10)}
		if id.Agent.IsValid() {
			k.agent = id.Agent.String()
		}
		tallies[k] = c.agents.get(e)
	}
	column := func(name string) int { return slices.Index(rows.Columns, name) }
	address, agent, domain, notes := column("address"), column("agent"), column("domain"), column("notes")
	rows.Columns = append(slices.Clone(rows.Columns), "pool sampling", "samples lost", "agent drops", "discards", "counter samples")
	for i, row := range rows.Rows {
		t := tallies[key{row[address], row[agent], row[domain]}]
		observed := ""
		if n := t.pool.rate(); n > 0 {
			observed = strconv.FormatUint(n, 10)
		}
		if t.pool.differs() {
			row[notes] = strings.TrimPrefix(row[notes]+"; sampling_differs_from_pool", "; ")
		}
		rows.Rows[i] = append(row, observed, strconv.FormatInt(max(t.missing, 0), 10),
			strconv.FormatInt(max(t.dropped, 0), 10), strconv.FormatUint(t.discards, 10), strconv.FormatUint(t.counters, 10))
	}
}

// addChecks adds to doctor's rows what only samples tell.
func (c *capture) addChecks(rows *sdk.Rows) {
	t := c.total()
	add := func(check, state, format string, args ...any) {
		rows.Rows = append(rows.Rows, []string{check, state, fmt.Sprintf(format, args...)})
	}
	if t.datagrams == 0 {
		return
	}
	if known := len(c.set.All()) > 0; !known && t.lost[causeNotListed]+t.lost[causeTooMany] == 0 {
		// Whoever sent them is no exporter: they were not sFlow.
		for i, row := range rows.Rows {
			if row[0] == "datagrams" {
				rows.Rows[i] = []string{"datagrams", exporter.StateOK, fmt.Sprintf("%d datagrams have arrived", t.datagrams)}
			}
		}
		add("decoded", exporter.StateFault, "none of %d datagrams is sFlow of version 5, 4 or 2: see what the devices send to this port; NetFlow and IPFIX belong to the capture netflow", t.datagrams)
		return
	}
	of := c.agents.sum()
	switch limit := int64(t.samples / 100); {
	case t.samples == 0 && of.counters > 0:
		add("samples", exporter.StateFault, "%d counter samples have come, but none of a packet: turn packet sampling on in the devices", of.counters)
	case t.samples == 0:
		add("samples", exporter.StateFault, "%d datagrams have brought no sample of a packet", t.datagrams)
	case t.records == 0:
		cause, n := t.worst()
		add("samples", exporter.StateFault, "none of %d samples counts, most often for the cause %s (%d)", t.samples, cause, n)
	case of.dropped > limit:
		add("samples", exporter.StateWarn, "devices say that they have dropped %d samples beside %d that came: rates read too low; let them sample fewer packets", of.dropped, t.samples)
	case of.missing > limit:
		add("samples", exporter.StateWarn, "%d samples are missing beside %d that came: they are lost on the way here", of.missing, t.samples)
	default:
		add("samples", exporter.StateOK, "%d samples have come, %d of them count; %d are missing, %d the devices have dropped", t.samples, t.records, max(of.missing, 0), max(of.dropped, 0))
	}
}

// addPools adds to doctor's rows the devices whose samples do not bear out the
// rate that they tell.
func (c *capture) addPools(rows *sdk.Rows) {
	n, first := 0, ""
	for _, e := range c.set.All() {
		p := c.agents.get(e).pool
		if !p.differs() {
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("%s says that its sampling rate is %d, but by its own count one packet of %d was sampled", e.Name(), (p.told+p.samples/2)/p.samples, p.rate())
		}
	}
	if n > 1 {
		first += fmt.Sprintf("; and %d exporters more", n-1)
	}
	if n > 0 {
		rows.Rows = append(rows.Rows, []string{"sampling", exporter.StateWarn, first + ": what it tells is what counts, so compare its rates with the interface's own counters"})
	}
}

// totalStats is what all workers have done.
type totalStats struct {
	datagrams, samples, records uint64
	lost                        [causes]uint64
}

func (c *capture) total() (t totalStats) {
	for i := range c.stats {
		s := &c.stats[i]
		t.datagrams += s.datagrams.Load()
		t.samples += s.samples.Load()
		t.records += s.records.Load()
		for k := range t.lost {
			t.lost[k] += s.lost[k].Load()
		}
	}
	return t
}

// worst is the most frequent cause of loss behind the socket.
func (t *totalStats) worst() (name string, n uint64) {
	for i, cause := range allCauses()[:causes] { // those of files are not ours to count
		if i != causeSocket && t.lost[i] > n {
			name, n = cause, t.lost[i]
		}
	}
	return name, n
}

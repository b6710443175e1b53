package exporter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// Table answers for a plugin (sdk.Table): "exporters", "doctor", "addresses",
// and "forward" if it forwards.
func (s *Set) Table(name string, conns []*udp.Conn, f *udp.Forwarder) (sdk.Rows, error) {
	switch name {
	case TableExporters:
		return s.Rows(), nil
	case TableDoctor:
		rows := s.Doctor(conns)
		rows.Rows = append(rows.Rows, forwards(f)...)
		return rows, nil
	case TableAddresses:
		return s.Addresses(), nil
	case TableForward:
		return f.Rows(), nil
	}
	return sdk.Rows{}, fmt.Errorf("there is no table %q: there are %s, %s, %s and %s", name, TableExporters, TableDoctor, TableAddresses, TableForward)
}

// States of a check.
const (
	StateOK    = "ok"
	StateWarn  = "warn"
	StateFault = "fault"
)

// maxSkew is how far an exporter's clock may be off before it is mentioned:
// the records of NetFlow and IPFIX tell times by it.
const maxSkew = 5 * time.Second

// Doctor is the table "doctor": what this capture can say of its input, in the
// order in which data passes. Columns: check, state (ok, warn or fault), and a
// detail that says what to do. A plugin adds rows of its own; of two of the
// same check the core shows the worse one.
func (s *Set) Doctor(conns []*udp.Conn) sdk.Rows {
	conns = slices.DeleteFunc(slices.Clone(conns), func(c *udp.Conn) bool { return c == nil })
	d := &checkup{now: s.now(), all: s.All()}
	d.listen(conns)
	d.arrive(s, conns)
	d.lost(conns)
	d.listed(s)
	if len(d.all) > 0 {
		d.silent(s)
		d.decoded()
		d.template()
		d.sampling()
		d.sequence()
		d.clock()
	}
	return sdk.Rows{Columns: []string{"check", "state", "detail"}, Rows: d.rows}
}

// recent is how long ago a loss is a warning: what is over for longer is told,
// but nothing is to be done about it.
const recent = 10 * time.Minute

// checkup collects the rows of the table "doctor".
type checkup struct {
	now  int64
	all  []*Exporter
	rows [][]string
}

func (d *checkup) say(check, state, format string, args ...any) {
	d.rows = append(d.rows, []string{check, state, fmt.Sprintf(format, args...)})
}

// listed tells of exporters that were refused.
func (d *checkup) listed(s *Set) {
	refused, full, latest := s.strangers.seen()
	if refused > 0 && len(latest) > 0 {
		state := StateWarn
		switch {
		case len(d.all) == 0:
			state = StateFault
		case d.now-latest[0].last > int64(recent):
			state = StateOK
		}
		var from []string
		for _, x := range latest {
			from = append(from, x.addr.String())
		}
		d.say("listed", state, "%d datagrams were refused because no exporter block named by the capture matches them, the last from %s: "+
			"if you know these devices, add their addresses to an exporter block", refused, strings.Join(from, ", "))
	}
	if full > 0 {
		d.say("listed", StateWarn, "%d datagrams were refused because there are more than %d exporters: somebody may forge addresses; name yours in exporter blocks", full, s.max)
	}
}

// silent tells of exporter blocks of which nothing comes while others send:
// whatever passes those devices only is not watched.
func (d *checkup) silent(s *Set) {
	last := map[*block]int64{}
	active := false
	for _, e := range d.all {
		active = active || d.now-e.seen.Load() <= minute
		if e.block != nil {
			last[e.block] = max(last[e.block], e.seen.Load())
		}
	}
	if !active { // the row about datagrams tells
		return
	}
	var names []string
	for _, b := range s.match.all {
		switch seen, ever := last[b]; {
		case !ever && d.now-s.began > minute:
			names = append(names, b.Name+" (nothing yet)")
		case ever && d.now-seen > 2*minute:
			names = append(names, fmt.Sprintf("%s (for %s)", b.Name, seconds(d.now-seen)))
		}
	}
	if n := len(names) - 5; n > 0 {
		names = append(names[:5], fmt.Sprintf("and %d more", n))
	}
	if len(names) > 0 {
		d.say("silent", StateWarn, "nothing comes from exporters that this capture names: %s; see whether they export to this machine and port, "+
			"and whether source, agent and domain in their blocks are right", strings.Join(names, ", "))
	}
}

// each says the worst of the exporters that a test finds fault with.
func (d *checkup) each(check, state, ok string, find func(e *Exporter) string) {
	n, first := 0, ""
	for _, e := range d.all {
		if f := find(e); f != "" {
			if n++; n == 1 {
				first = fmt.Sprintf("%s (%s, domain %d): %s", e.Name(), e.id.Source, e.id.Domain, f)
			}
		}
	}
	switch {
	case n > 1:
		d.say(check, state, "%s; and %d exporters more: see fastnetmon exporters", first, n-1)
	case n == 1:
		d.say(check, state, "%s", first)
	case ok != "":
		d.say(check, StateOK, "%s", ok)
	}
}

func (d *checkup) decoded() {
	var records uint64
	for _, e := range d.all {
		records += e.records.Load()
	}
	d.each("decoded", StateWarn, fmt.Sprintf("%d records decoded", records), func(e *Exporter) string {
		bad, good := e.malformed.Load()+e.unknown.Load(), e.records.Load()
		switch {
		case good == 0 && bad > 0:
			return fmt.Sprintf("nothing of it could be decoded: %d malformed, %d of unknown kinds; is it really %s?", e.malformed.Load(), e.unknown.Load(), protocol(e.id.Version))
		case e.malformed.Load() > good/100:
			return fmt.Sprintf("%d malformed parts beside %d records: a damaged path or a faulty exporter", e.malformed.Load(), good)
		}
		return ""
	})
	if records == 0 && d.rows[len(d.rows)-1][1] == StateOK {
		d.rows = d.rows[:len(d.rows)-1] // templates may be why: they come next
	}
}

func (d *checkup) template() {
	state := StateWarn
	d.each("templates", state, "", func(e *Exporter) string {
		if e.templates.Load() == 0 && e.missing.Load() > 0 {
			return fmt.Sprintf("%d sets of data, but no template: let it send templates more often (every minute), and not to another collector only", e.missing.Load())
		}
		return ""
	})
	if n := len(d.rows); d.rows[n-1][0] == "templates" {
		for _, e := range d.all {
			if e.records.Load() > 0 {
				return
			}
		}
		d.rows[n-1][1] = StateFault // nothing at all is decoded
	}
}

func (d *checkup) sampling() {
	ok := "" // unless a rate was asked for
	for _, e := range d.all {
		if e.rates.sources() != 0 {
			ok = "the sampling rates are known"
		}
	}
	d.each("sampling", StateWarn, ok, func(e *Exporter) string {
		switch from := e.rates.sources(); {
		case from&disbelieved != 0:
			return fmt.Sprintf("it tells a sampling rate above %d, which is not believed: see what it is set to, and whether the path from it damages datagrams", MaxRate)
		case from&fromNowhere != 0:
			return "its sampling rate is unknown, so its records count 1:1: let it send sampling options, or set sampling in its exporter block (1 if it does not sample)"
		}
		return ""
	})
}

func (d *checkup) sequence() {
	d.each("sequence", StateWarn, "", func(e *Exporter) string {
		if n := e.notes(d.now); strings.Contains(n, "sequence space") {
			return "more than one sequence space: two exporters behind an address translation or a replicator look like one; give each its own source port, domain or agent address"
		}
		e.seq.mu.Lock()
		lost := e.seq.lost
		e.seq.mu.Unlock()
		if all := e.records.Load(); lost > 0 && lost > all/100 {
			return fmt.Sprintf("its sequence numbers show a loss of %d (records, in v9 and sFlow datagrams) on the way here", lost)
		}
		return ""
	})
}

func (d *checkup) clock() {
	d.each("clock", StateWarn, "the exporters' clocks agree with this machine's", func(e *Exporter) string {
		e.times.mu.Lock()
		ms, ok := e.times.skew.get()
		e.times.mu.Unlock()
		skew := time.Duration(ms) * time.Millisecond
		if clamped := e.times.clamped.Load(); clamped > e.records.Load()/100 {
			return fmt.Sprintf("%d records have impossible times", clamped)
		}
		if ok && skew.Abs() > maxSkew {
			return fmt.Sprintf("its clock differs from this machine's by %s: set up NTP on both", skew.Round(time.Second))
		}
		return ""
	})
}

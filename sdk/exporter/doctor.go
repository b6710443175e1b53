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
		return s.Doctor(conns), nil
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

// checkup collects the rows of the table "doctor".
type checkup struct {
	now  int64
	all  []*Exporter
	rows [][]string
}

func (d *checkup) say(check, state, format string, args ...any) {
	d.rows = append(d.rows, []string{check, state, fmt.Sprintf(format, args...)})
}

// listen tells which sockets are open: without them the plugin would not run.
func (d *checkup) listen(conns []*udp.Conn) {
	if len(conns) == 0 {
		d.say("bound", StateFault, "no socket is open")
		return
	}
	at := map[string]bool{}
	var names []string
	for _, c := range conns {
		if a := c.LocalAddr().String(); !at[a] {
			at[a] = true
			names = append(names, a)
		}
	}
	d.say("bound", StateOK, "listening on %s", strings.Join(names, ", "))
}

// arrive tells whether datagrams come, and if not what may keep them.
func (d *checkup) arrive(s *Set, conns []*udp.Conn) {
	var datagrams uint64
	newest := int64(0)
	for _, e := range d.all {
		datagrams += e.datagrams.Load()
		newest = max(newest, e.seen.Load())
	}
	refused, full, latest := s.strangers.seen()
	for _, x := range latest {
		newest = max(newest, x.last)
	}
	all, silence := datagrams+refused+full, time.Duration(d.now-newest)
	for _, c := range conns {
		if n, ago := c.Received(); n > 0 { // what is no telemetry comes from no exporter
			all, silence = max(all, n), min(silence, ago)
		}
	}
	var silent string
	switch {
	case all == 0:
		silent = "no datagram has arrived"
	case silence > time.Duration(minute):
		silent = fmt.Sprintf("no datagram has arrived for %s", seconds(int64(silence)))
	default:
		d.say("datagrams", StateOK, "%d datagrams from %d exporters", all, len(d.all))
		return
	}
	dropped, strict := reversePath()
	d.reversePath(s.dropped, dropped, strict)
	port := uint16(0)
	if len(conns) > 0 {
		port = conns[0].LocalAddr().Port()
	}
	d.say("datagrams", StateFault, "%s: let the devices export to this machine and port, and see whether they reach it: tcpdump -ni any udp port %d; "+
		"if tcpdump shows them, a firewall of this machine (nft list ruleset) or rp_filter drops them", silent, port)
}

// reversePath tells of the reverse path filter where nothing comes. It is at
// fault only if it has dropped something since the capture started.
func (d *checkup) reversePath(before, dropped uint64, strict string) {
	state, when := StateWarn, "since the start of this machine"
	switch {
	case dropped == 0:
		return
	case dropped > before:
		state, when, dropped = StateFault, "since this capture started", dropped-before
	}
	d.say("rp_filter", state, "the reverse path filter has dropped %d packets %s%s: exporters that this machine would answer by another interface are cut off; "+
		"route them back the way they come, or make it loose: sysctl -w net.ipv4.conf.all.rp_filter=2 (and of the interface)", dropped, when, strict)
}

// lost tells what the sockets lost.
func (d *checkup) lost(conns []*udp.Conn) {
	var lost, received uint64
	advice := ""
	for _, c := range conns {
		lost += c.Lost()
		n, _ := c.Received()
		received += n
		if a := c.Advice(); a != "" {
			advice = a
		}
	}
	state := StateWarn
	if lost > received/100 {
		state = StateFault
	}
	switch {
	case lost > 0 && advice != "":
		d.say("receive buffer", state, "%d datagrams were lost because the receive buffer was full, beside %d that were read; %s", lost, received, advice)
	case lost > 0:
		d.say("receive buffer", state, "%d datagrams were lost because the receive buffer was full, beside %d that were read: raise receive_buffer or workers in the capture's block", lost, received)
	case advice != "": // nothing has come of it yet: not to be named before what is wrong
		d.say("buffer size", StateWarn, "%s", advice)
	}
}

// listed tells of exporters that were refused.
func (d *checkup) listed(s *Set) {
	refused, full, latest := s.strangers.seen()
	if refused > 0 && len(latest) > 0 {
		state := StateWarn
		if len(d.all) == 0 {
			state = StateFault
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

package mitigate

import (
	"slices"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Set is what a plugin is to hold, and the version of that. It goes in one
// message, which is 16 MiB at most (host.MaxMessage): where there is much, only the
// newest come with all that is known of their attacks.
func (m *Machine) Set(block string) (set []sdk.Mitigation, version uint64) {
	left := room{dumps: maxDumps, details: maxDetails}
	list := m.of(block)
	for i := len(list) - 1; i >= 0; i-- {
		if e := list[i]; e.Desired {
			e.Synced = true
			x := e.mitigation(&e.Event)
			left.furnish(&x.Event)
			set = append(set, x)
		}
	}
	slices.Reverse(set)
	return set, m.plugin(block).version
}

// Octets of one set, as the protocol writes them: of packets, and of everything
// else that can be done without. What is left of a mitigation is some hundred, and
// there are 10,000 at most.
const (
	maxDumps   = 1 << 20
	maxDetails = 8 << 20
)

// room is what of a set is left, in octets.
type room struct{ dumps, details int }

// furnish takes from an event what has no room: the packets first, then what else
// is evidence and the rates. What tells which kind of attack it is stays.
func (r *room) furnish(e *sdk.Event) {
	if e.Evidence != nil {
		if size := dumpSize(e.Evidence); size <= r.dumps {
			r.dumps -= size
		} else {
			told := *e.Evidence
			told.Dump = nil
			e.Evidence = &told
		}
	}
	if size := detailSize(e); size <= r.details {
		r.details -= size
		return
	}
	e.Incoming, e.Outgoing, e.Crossed = nil, nil, nil
	if x := e.Evidence; x != nil {
		e.Evidence = &sdk.EvidenceReport{
			Samples: x.Samples, Frames: x.Frames, Flows: x.Flows, Before: x.Before, Packets: x.Packets, Bytes: x.Bytes,
			Complete: x.Complete, First: x.First, Last: x.Last, Basis: x.Basis, Parts: x.Parts, SourceEntropy: x.SourceEntropy, Spoofed: x.Spoofed,
			PCAP: x.PCAP, Report: x.Report, Dump: x.Dump,
		}
	}
}

// What parts of a message take beside their texts, in octets, or more: a tag and a
// length of each field, a double, a number.
const (
	sampleSize = 64
	rateSize   = 32
	rowSize    = 48
	lineSize   = 8
)

func dumpSize(e *sdk.EvidenceReport) (size int) {
	for i := range e.Dump {
		size += sampleSize + len(e.Dump[i].Data) + len(e.Dump[i].Record) + len(e.Dump[i].Exporter)
	}
	return size
}

// detailSize is what furnish may take away.
func detailSize(e *sdk.Event) (size int) {
	for _, rates := range [][]sdk.CounterRate{e.Incoming, e.Outgoing} {
		for i := range rates {
			size += rateSize + len(rates[i].Counter)
		}
	}
	for i := range e.Crossed {
		c := &e.Crossed[i]
		size += rowSize + 3*lineSize + len(c.Threshold) + len(c.Scope) + len(c.Counter) + len(c.Unit) + len(c.Rule)
	}
	x := e.Evidence
	if x == nil {
		return size
	}
	for _, lines := range [][]string{x.Reasons, x.Problems} {
		for _, l := range lines {
			size += lineSize + len(l)
		}
	}
	for i := range x.Tops {
		size += rateSize + len(x.Tops[i].Name)
		for j := range x.Tops[i].Rows {
			size += rowSize + len(x.Tops[i].Rows[j].Value)
		}
	}
	for i := range x.Findings {
		size += rateSize + len(x.Findings[i].Label) + len(x.Findings[i].Detail)
	}
	return size + rateSize*len(x.Timeline)
}

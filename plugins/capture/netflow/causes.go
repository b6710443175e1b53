package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// cause is an index into what Causes declares. The unit of the ledger is the
// flow record; the README says what counts one where records cannot be told.
type cause uint8

const (
	lostSocket cause = iota // datagrams that the kernel had no room for, as records
	lostCutDatagram
	lostShort
	lostVersion
	lostNotListed
	lostTooMany
	lostCount
	lostSet
	lostUnknownSet
	lostTrailing
	lostTemplate
	lostTemplates
	lostNoTemplate
	lostHoldFull
	lostRecord
	lostOptions
	lostNoAddresses
	lostNoCounters
	lostImpossible
	lostNAT
	lostFirewall
	lostDirection
	lostInterface
	lostDuplicate
	lostSection // the parser's outcomes follow in their order: not_ip …

	causes = int(lostSection) + traffic.Outcomes - 1
)

var causeNames = [...]string{
	lostSocket:      "socket_overflow",
	lostCutDatagram: "cut_datagram",
	lostShort:       "short_datagram",
	lostVersion:     "unknown_version",
	lostNotListed:   exporter.NotListed.String(),
	lostTooMany:     exporter.TooMany.String(),
	lostCount:       "bad_count",
	lostSet:         "bad_set",
	lostUnknownSet:  "unknown_set",
	lostTrailing:    "trailing_octets",
	lostTemplate:    "bad_template",
	lostTemplates:   "too_many_templates",
	lostNoTemplate:  "no_template",
	lostHoldFull:    "hold_full",
	lostRecord:      "cut_record",
	lostOptions:     "bad_options",
	lostNoAddresses: "no_addresses",
	lostNoCounters:  "no_counters",
	lostImpossible:  "impossible_counters",
	lostNAT:         "nat_event",
	lostFirewall:    "firewall_event",
	lostDirection:   exporter.CauseDirection,
	lostInterface:   exporter.CauseInterface,
	lostDuplicate:   exporter.CauseDuplicate,
}

// Causes names the causes of loss.
func (c *capture) Causes() []string {
	names := make([]string, causes, causes+capfile.Losses)
	copy(names, causeNames[:])
	for o := traffic.OK + 1; int(o) < traffic.Outcomes; o++ {
		names[outcomeCause(o)] = "section_" + o.String()
	}
	return append(names, capfile.LossNames()...) // of files
}

// outcomeCause is the cause of a frame section that the parser refused.
func outcomeCause(o traffic.Outcome) cause { return lostSection + cause(o) - 1 }

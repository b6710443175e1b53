package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The causes of loss beyond the parser's: their indices follow its outcomes'.
// What concerns a whole datagram counts one: how many samples it held is not
// to be believed.
const (
	causeSocket    = int(traffic.UnknownLink) + iota // in datagrams that the kernel dropped since the receive buffer was full; an estimate
	causeVersion                                     // neither sFlow 2, 4 nor 5
	causeDatagram                                    // too short for its header, or an agent address of no known type
	causeCut                                         // samples that the datagram announces and does not hold: one a datagram
	causeTrailing                                    // data behind the samples that the datagram announces: one a datagram
	causeNotListed                                   // a device that no exporter block names
	causeTooMany                                     // more devices than are kept apart
	causeSample                                      // a sample that contradicts itself
	causeKind                                        // a sample of a kind that is not read
	causeNoHeader                                    // a sample without a packet
	causeDirection                                   // metered in a direction that the exporter block leaves out
	causeInterface                                   // on an interface that it leaves out
	causeDuplicate                                   // another exporter of the same traffic is the one that counts
	causes
)

var causeNames = [causes]string{
	causeSocket:    "socket_overflow",
	causeVersion:   "unknown_version",
	causeDatagram:  "bad_datagram",
	causeCut:       "cut_datagram",
	causeTrailing:  "trailing_data",
	causeNotListed: exporter.NotListed.String(),
	causeTooMany:   exporter.TooMany.String(),
	causeSample:    "bad_sample",
	causeKind:      "unknown_sample",
	causeNoHeader:  "no_packet",
	causeDirection: exporter.CauseDirection,
	causeInterface: exporter.CauseInterface,
	causeDuplicate: exporter.CauseDuplicate,
}

// Causes names the causes of loss.
func (c *capture) Causes() []string { return allCauses() }

func allCauses() []string {
	names := causeNames
	for o := traffic.OK + 1; int(o) < traffic.Outcomes; o++ {
		names[o-1] = o.String()
	}
	return append(names[:], capfile.LossNames()...) // of files
}

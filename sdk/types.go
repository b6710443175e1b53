package sdk

import (
	"errors"
	"net/netip"
	"time"
)

// EventType names what an event says.
type EventType string

// The types of event.
const (
	AttackStarted  EventType = "attack.started"
	AttackUpdated  EventType = "attack.updated"
	AttackEnded    EventType = "attack.ended"
	ReplayFinished EventType = "replay.finished"
	// MitigationChanged tells that a mitigation has come to another state: Mitigation
	// says which. The rest is the newest event of the attack, Seq too. Exporters see
	// all of them, notifiers those that are held or have failed.
	MitigationChanged EventType = "mitigation.changed"
)

// TestPrefix begins the ID of an event that a person sends to try an action. A
// notifier that queues events tells of this one at once, and returns what came
// of it.
const TestPrefix = "test-"

// Event is what notifiers, exporters and the event log are told.
type Event struct {
	Type      EventType
	ID        string       // of the attack; the same for all its events
	Seq       uint32       // 1 for attack.started, then one more for each event of the attack
	Time      time.Time    // of the decision; in replay the capture's time
	Started   time.Time    // of the attack
	Target    netip.Prefix // host or prefix; of a hostgroup or network its prefix, invalid where it has several
	Direction string       // "incoming" or "outgoing"
	HostGroup string
	Network   string
	Pipeline  string
	Mode      string // "monitor" or "enforce"
	WouldHave bool   // what enforce would have acted on: in monitor, or while Suspended
	Suspended string // enforce, and yet nothing is to be done: what may have inflated the rates; "" nothing
	Lifted    bool   // the attack was suspended until this event: act now
	Revision  string // of the configuration

	Crossing                 // the first limit crossed
	Label      string        // what kind of attack it is; see Evidence for how it is known
	Confidence float64       // of Label, 0 … 1
	AttackType string        // attack type by the original's rule: syn_flood, icmp_flood, ip_fragmentation, udp_flood, unknown
	Protocol   string        // the original's attack protocol: tcp, udp or icmp
	Crossed    []Crossing    // all limits crossed so far, in order
	PeakPPS    float64       // of total in the attack's direction
	InitialPPS float64       // the same when the attack started
	Incoming   []CounterRate // by counter, built-in ones always in the same order
	Outgoing   []CounterRate
	Flows      [2]float64 // new flows per second: incoming, outgoing
	LossRatio  float64    // share of records lost on the inputs in the last ten seconds

	// Evidence is what is known of the packets. The attack's start does not
	// wait for it: an attack.updated brings it, and later events keep it. Nil
	// where there is none.
	Evidence *EvidenceReport
	// Summary is set where the event stands for many attacks, which are not told
	// by themselves. Only notifiers see such events. Target is the prefix that they
	// lie in, invalid where they only began within a short time; Crossing and
	// Crossed are those of the largest one; rates and powers are sums. HostGroup,
	// Network, Threshold, AttackType and Protocol are empty where they differ.
	Summary *Summary
	// Mitigation is set in MitigationChanged only.
	Mitigation *MitigationReport
}

// Summary is what many attacks have in common.
type Summary struct {
	Attacks int    // in all so far
	Open    int    // of them, those that go on
	Parts   []Part // the largest by PeakPPS, 100 at most, those that go on first
}

// Part is one attack of a summary.
type Part struct {
	ID         string
	Target     netip.Prefix
	HostGroup  string
	Threshold  string
	AttackType string
	PeakPPS    float64
	Started    time.Time
	Ended      time.Time // zero while it goes on
}

// Crossing is one limit and the value that crossed it.
type Crossing struct {
	Threshold string
	Scope     string // "host", "prefix", "hostgroup" or "network"
	Counter   string
	Unit      string // "pps", "bps" or "fps"
	Value     float64
	Limit     float64
	Window    time.Duration // over which Value was measured
	Rule      string        // "average", or "7x1.5" and the like for a burst rule
	At        time.Time
}

// CounterRate is one counter's rate.
type CounterRate struct {
	Counter string  `json:"counter"`
	PPS     float64 `json:"pps"` // packets per second
	BPS     float64 `json:"bps"` // bits per second
}

// Mitigation is one thing a plugin is asked to hold.
type Mitigation struct {
	ID        string
	AttackID  string
	Target    netip.Prefix
	Direction string
	Profile   string // the label of the plugin's target block, "" if it has none
	Event     Event  // why: the attack's newest event
	Requested time.Time
	Subnet    netip.Prefix // the longest prefix of our networks that holds Target
	// Attributes stand instead of the profile's own; Overrider has accepted them.
	Attributes map[string][]string
	By         string // who asked for it, "" an attack did
	Reason     string // theirs
}

// Announcement is what a mitigation comes to outside: one route or rule.
type Announcement struct {
	Prefix   netip.Prefix // the destination of the traffic it touches
	Text     string       // for people, as "203.0.113.5/32 next hop 192.0.2.66 communities 65535:666"
	FlowSpec bool         // a flow-spec rule (RFC 8955, RFC 8956), else a route
	Discard  bool         // the traffic is dropped, not only limited, marked or led elsewhere
	Matches  int          // of a flow-spec rule: conditions beside the destination
}

// MitigationState is where a mitigation has got to.
type MitigationState string

// The states that only the core knows.
const (
	MitigationRequested MitigationState = "requested" // on its way; Cause says what is waited for
	MitigationHeld      MitigationState = "held"      // a guard keeps it back; Cause says which
	MitigationReleasing MitigationState = "releasing" // to be taken back; the plugin has not said yet that it is gone
)

// The states a plugin reports.
const (
	MitigationSent     MitigationState = "sent"     // told to somebody who does not acknowledge
	MitigationActive   MitigationState = "active"   // truly there
	MitigationReleased MitigationState = "released" // truly gone
	MitigationFailed   MitigationState = "failed"   // not there, and the plugin has stopped trying until the next Sync
	MitigationPending  MitigationState = "pending"  // not there yet; Cause says what is waited for
)

// MitigationStatus is a plugin's word on one mitigation.
type MitigationStatus struct {
	ID    string
	State MitigationState
	Cause string
	Time  time.Time
	Peers []PeerStatus // who has it, where there are several
}

// PeerStatus is what one neighbour of a plugin has of a mitigation.
type PeerStatus struct {
	Peer  string          `json:"peer"` // its address or name
	State MitigationState `json:"state"`
	Cause string          `json:"cause"`
}

// MitigationReport is a mitigation as it stands.
type MitigationReport struct {
	ID            string
	AttackID      string // "": a person asked for it
	Target        netip.Prefix
	Direction     string
	HostGroup     string
	Action        string // as configurations refer to it: action.gobgp.edge.blackhole
	State         MitigationState
	Cause         string       // why it is in this state
	Time          time.Time    // since when it is
	Requested     time.Time    // when it was asked for
	Expires       time.Time    // when it is released at the latest; zero: it is not known yet, or over
	By            string       // who asked for it, "" an attack did
	Reason        string       // theirs
	Announcements []string     // what it comes to, for people
	Peers         []PeerStatus // what each of the plugin's neighbours has of it
}

// Snapshot is what exporters get each period.
type Snapshot struct {
	Time     time.Time     `json:"time"`
	Period   time.Duration `json:"period_ns"`
	Totals   []TotalRate   `json:"totals"`
	Networks []ScopeRate   `json:"networks"`
	Groups   []ScopeRate   `json:"hostgroups"`
	Hosts    []HostRate    `json:"hosts"`   // the top ones, by packets, both directions together, and those under attack
	Attacks  []Event       `json:"attacks"` // in progress: their newest event
	Ledger   []LedgerRow   `json:"ledger"`
	System   []Metric      `json:"system"`
	// Mitigations are those that are not over, 1000 at most.
	Mitigations []MitigationReport `json:"mitigations"`
}

// TotalRate is the rate of all traffic in one direction and family.
type TotalRate struct {
	Direction string        `json:"direction"` // incoming, outgoing, internal, other
	Family    int           `json:"family"`    // 4 or 6
	Counters  []CounterRate `json:"counters"`
	Flows     float64       `json:"flows"`
}

// ScopePrefixes is how many prefixes of a network a snapshot names at most.
const ScopePrefixes = 16

// ScopeRate is the rate of a network or hostgroup.
type ScopeRate struct {
	Name      string         `json:"name"`
	Direction string         `json:"direction"`
	Counters  []CounterRate  `json:"counters"`
	Flows     float64        `json:"flows"`
	Prefixes  []netip.Prefix `json:"prefixes,omitempty"` // of a network, the first ScopePrefixes
}

// HostRate is the rate of a host.
type HostRate struct {
	Host      netip.Prefix  `json:"host"`
	Group     string        `json:"hostgroup"`
	Network   string        `json:"network"`
	Direction string        `json:"direction"`
	Counters  []CounterRate `json:"counters"`
	Flows     float64       `json:"flows"`
}

// LedgerRow accounts for one input: Received = Used + Σ Dropped + InFlight.
type LedgerRow struct {
	Input    string            `json:"input"`
	Received uint64            `json:"received"`
	Used     uint64            `json:"used"`
	InFlight uint64            `json:"in_flight"`
	Dropped  map[string]uint64 `json:"dropped"` // by cause
}

// Metric is one number about the program itself.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Finding is what an Inspector found.
type Finding struct {
	Label      string  // small letters, digits, - and _, at most 64: the core makes such a word of any other
	Confidence float64 // 0 … 1
	Detail     string
}

// Rows is a table for people.
type Rows struct {
	Columns []string
	Rows    [][]string
}

// Retry marks err as worth another try of the same call.
func Retry(err error) error {
	if err == nil {
		return nil
	}
	return &retryError{err}
}

// IsRetry reports whether err asks for another try.
func IsRetry(err error) bool {
	var r *retryError
	return errors.As(err, &r)
}

type retryError struct{ err error }

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

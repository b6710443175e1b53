package detect

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// EventType is what happened to an attack.
type EventType uint8

// The types of event.
const (
	Started EventType = iota
	Updated
	Ended
)

// State is how far an attack has got.
type State uint8

// The states.
const (
	Detected State = iota
	Active
	Over
)

// Causes of an attack's end.
const (
	CauseQuiet         = "quiet"
	CauseConfiguration = "configuration" // none of its limits exists any more
)

// Crossed is one limit that an attack crossed.
type Crossed struct {
	Limit     uint32 // engine.Limit.ID
	Threshold string
	Counter   string
	Unit      engine.Unit
	Value     float64 // per second: packets, bytes or flows
	Bound     float64 // the limit's value when it was crossed
	Rule      engine.Rule
	Window    time.Duration
	At        int64 // stream's clock
	Left      bool  // a tier that the attack has fallen below: see doc.go

	counter uint16
	below   int64 // a tier: since when it is quiet; 0: it is not
}

// Attack is an attack as it stands; an Event holds a copy of its own.
type Attack struct {
	ID        string
	Seq       uint32 // of the newest event
	State     State
	Scope     engine.ScopeKind
	Target    netip.Prefix // invalid for a hostgroup or network of several prefixes
	Direction ring.Direction
	NetworkID uint32
	GroupID   uint32
	Network   string
	Group     string
	Revision  string // of the configuration under which it started
	Started   int64  // stream's clock
	Ended     int64
	Cause     string // of its end
	Crossed   []Crossed

	Rates      engine.HostRates // at the event
	InitialPPS float64          // packets per second of total in the attack's direction
	PeakPPS    float64
	Type       string // FastNetMon's attack type, judged at the peak
	Protocol   string // and its attack protocol

	// Suspended tells that what crossed may be the doing of an input that was
	// disturbed: nothing is to be enforced. An event with Lifted takes it back.
	Suspended bool
	Doubt     engine.DoubtID // in which it is or was suspended
}

// Event tells one change of an attack.
type Event struct {
	Type   EventType
	Time   int64 // stream's clock
	Attack Attack
	Lifted bool // the attack was suspended until now, and has proved real
}

package mitigate

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Moment is now, by two clocks.
type Moment struct {
	Boot time.Duration // since the machine started: what time is reckoned by
	Wall time.Time     // of day: for people
}

// Ways to release a mitigation.
const (
	ReleaseAuto      = "auto"       // AfterHold where it drops all traffic to the target, else WhenQuiet
	ReleaseWhenQuiet = "when_quiet" // the attack has ended, and hold is over
	ReleaseAfterHold = "after_hold" // hold is over; an attack that is still seen begins it anew
	ReleaseManual    = "manual"     // a person says so
)

// Rules say how long mitigations last, and what they set instead of a profile's
// attributes.
type Rules struct {
	Hold       time.Duration
	Max        time.Duration // whatever happens, no longer
	Release    string
	Backoff    float64 // Hold is multiplied with it at each recurrence
	Attributes map[string][]string
}

// Action is what configurations refer to: a block, and maybe a profile of it.
type Action struct {
	Block   string // action.gobgp.edge
	Profile string // "" if it has none
}

func (a Action) String() string {
	if a.Profile == "" {
		return a.Block
	}
	return a.Block + "." + a.Profile
}

// Do is what is to be done for an attack with one action.
type Do uint8

// What is to be done.
const (
	Act  Do = iota // it is to be in force
	Keep           // what is in force stays, nothing is begun
	Drop           // it is to be taken back at once
)

// Want is an action that an attack calls.
type Want struct {
	Action Action
	Rules  Rules
	Do     Do
	Why    string // of Drop
}

// Attack is an attack as it stands. What it does not want any more is released
// by its rules.
type Attack struct {
	Event  sdk.Event
	Over   bool
	Subnet netip.Prefix
	// Parts are the prefixes of a target that has several, each of which has a
	// mitigation of its own; nil: Event.Target is what is acted on.
	Parts []Part
	// Whole names a target of several prefixes, and TooMuch says why it cannot be
	// acted on, if it cannot.
	Whole, TooMuch string
	Wants          []Want
}

// Part is one prefix of a target.
type Part struct{ Target, Subnet netip.Prefix }

// parts are what an attack is to be acted on, each as if it were all of it.
func (a *Attack) parts() []Attack {
	if a.TooMuch != "" || len(a.Parts) == 0 {
		return []Attack{*a}
	}
	out := make([]Attack, len(a.Parts))
	for i, p := range a.Parts {
		out[i] = *a
		out[i].Event.Target, out[i].Subnet = p.Target, p.Subnet
	}
	return out
}

// Ban is what a person asks for.
type Ban struct {
	Action     Action
	Target     netip.Prefix
	Direction  string
	For        time.Duration
	By         string
	Reason     string
	Event      sdk.Event // synthetic
	Subnet     netip.Prefix
	Attributes map[string][]string
	Rules      Rules
}

// Change is a mitigation that has come to another state.
type Change struct {
	Report sdk.MitigationReport
	Event  sdk.Event // the attack's newest, without evidence
}

// Audit is a change that a person made.
type Audit struct {
	Time   time.Time `json:"time"`
	Who    string    `json:"who"`
	What   string    `json:"what"` // ban, unban, held release, held refuse
	ID     string    `json:"id"`
	Target string    `json:"target"`
	Action string    `json:"action"`
	Reason string    `json:"reason"`
	Result string    `json:"result"`
}

// key is what there is one mitigation of.
type key struct {
	Action    string
	Target    netip.Prefix
	Direction string
	Whole     string `json:",omitempty"` // of what has no single prefix: its name
}

// keyOf is that of an action for an attack, or for a part of it.
func keyOf(action Action, a *Attack) key {
	k := key{Action: action.String(), Target: a.Event.Target, Direction: a.Event.Direction}
	if a.TooMuch != "" {
		k.Target, k.Whole = netip.Prefix{}, a.Whole
	}
	return k
}

// entry is a mitigation. Times are of Moment.Boot; 0 is never.
type entry struct {
	ID        string
	Action    Action
	Target    netip.Prefix
	Direction string
	AttackID  string // the newest that called for it
	Event     sdk.Event
	Subnet    netip.Prefix
	Rules     Rules
	By        string
	Reason    string
	Group     string // it is one of several that one attack has with one action
	Whole     string // what it is on, where that has no single prefix
	Manual    bool   // a person wants it, until Until
	Until     time.Duration

	State     sdk.MitigationState
	Cause     string
	Since     time.Time
	Requested time.Time
	Level     int           // recurrences
	HoldEnds  time.Duration // 0 until the guards have let it pass
	MaxEnds   time.Duration
	Why       string        // it is released, whatever keeps that from being so
	Grace     time.Duration // not released before, for want of an attack
	Desired   bool          // it is in the set that its plugin gets
	Synced    bool          // its plugin may have it
	Freed     string        // the person who let it pass the guards' counts
	Hard      bool          // held, and not for a person to release
	Kept      string        // why it has not come to what its newest event asks for
	Announced []sdk.Announcement

	attacks  map[string]bool // open ones that want it
	preview  bool            // to be previewed
	judged   bool            // the guards have seen what it comes to, and wait for the rest of its group
	anew     bool            // it is in force, and what that comes to may be another now
	tryAt    time.Duration   // not before
	tries    int
	pending  *sdk.Event // the event that is to be previewed, where another is in force
	reported sdk.MitigationState
	conn     uint64 // connection that reported it
	peers    []sdk.PeerStatus
	omitted  time.Duration // releasing: when a set without it was taken
	since    time.Duration // of the state
}

func (e *entry) key() key { return key{e.Action.String(), e.Target, e.Direction, e.Whole} }

// due tells whether it is to be previewed now.
func (e *entry) due(now time.Duration) bool { return e.preview && now >= e.tryAt && e.Target.IsValid() }

// mitigation is what the plugin gets, for one event or the other.
func (e *entry) mitigation(event *sdk.Event) sdk.Mitigation {
	return sdk.Mitigation{
		ID: e.ID, AttackID: e.AttackID, Target: e.Target, Direction: e.Direction, Profile: e.Action.Profile, Event: *event,
		Requested: e.Requested, Subnet: e.Subnet, Attributes: e.Rules.Attributes, By: e.By, Reason: e.Reason,
	}
}

// report is what everybody else sees.
func (e *entry) report(now Moment) sdk.MitigationReport {
	out := sdk.MitigationReport{
		ID: e.ID, AttackID: e.AttackID, Target: e.Target, Direction: e.Direction, HostGroup: e.Event.HostGroup, Action: e.Action.String(),
		State: e.State, Cause: e.Cause, Time: e.Since, Requested: e.Requested, By: e.By, Reason: e.Reason, Peers: e.peers,
	}
	if e.Kept != "" {
		out.Cause += "; " + e.Kept
	}
	for i := range e.Announced {
		out.Announcements = append(out.Announcements, e.Announced[i].Text)
	}
	if ends := e.ends(); e.Desired && ends > 0 {
		out.Expires = now.Wall.Add(ends - now.Boot)
	}
	return out
}

// ends is when it is released at the latest.
func (e *entry) ends() time.Duration {
	if e.Manual && e.Until > 0 && e.Until < e.MaxEnds && len(e.attacks) == 0 {
		return e.Until
	}
	return e.MaxEnds
}

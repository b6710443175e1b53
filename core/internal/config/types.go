// Package config reads HCL into a typed configuration: every reference resolved,
// every hostgroup carrying what it inherits, every fault shown with its file, line
// and what to do.
package config

import (
	"net/netip"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Config is a whole configuration, checked and resolved: every reference
// points at what it names, every hostgroup carries what it inherited.
type Config struct {
	Language   int
	Dir        string // absolute; relative paths start here, those in plugin blocks too
	Revision   string // hex, 16 digits: hash of the files' bytes, names apart
	Daemon     Daemon
	Summary    Summary
	Networks   []*Network // in order of declaration, as everything below
	Counters   []*Counter
	Exemptions []*Exemption
	Groups     []*HostGroup
	Exporters  []*Exporter
	Captures   []*Plugin
	Filters    []*Plugin
	Actions    []*Plugin
	Exports    []*Plugin
	Pipelines  []*Pipeline
	Evidence   Evidence
	Guard      Guard
	History    History
	Lists      []*PrefixList        // all files of prefixes, and the machine's own addresses
	Files      map[string]*hcl.File // for showing source lines in diagnostics

	sources []source // what it was loaded from, for Relist
	dir     string
	replay  bool

	decl   map[string]*symbols            // what references can name, for Decode
	bodies map[*HostGroup]*hclsyntax.Body // what each group says itself, for ExplainGroup
}

// Mode is what is done about an attack.
type Mode string

// The modes.
const (
	Monitor Mode = "monitor"
	Enforce Mode = "enforce"
)

// Daemon is the daemon block.
type Daemon struct {
	Mode        Mode
	StateDir    string
	RuntimeDir  string
	MemoryLimit uint64        // bytes, of the engine's tables; 0 means the default
	Baseline    time.Duration // for how long it is known how rates were
}

// Summary says when notifying actions are told of many attacks at once.
type Summary struct {
	Attacks   int           // as many are told by themselves; 0 means that all are
	Within    time.Duration // in which they start
	PrefixLen [2]uint8      // or in which they are open at a time: lengths in IPv4 and IPv6
	Update    time.Duration // until the first update of a summary in which nothing changes
}

// Network is prefixes that are ours.
type Network struct {
	Name          string
	Prefixes      []netip.Prefix // masked; inline ones and those of Files
	Files         []string
	CountInternal bool
	Range         hcl.Range
}

// Counter is a user-defined traffic class.
type Counter struct {
	Name             string
	Protocols        []uint8
	SourcePorts      [][2]uint16
	DestinationPorts [][2]uint16
	FlagsSet         uint8
	FlagsClear       uint8
	Fragment         *bool
	Dropped          *bool
	Lengths          [][2]uint32
	Classes          []uint8
	Range            hcl.Range
}

// Exemption keeps traffic out of the rates.
type Exemption struct {
	Name      string
	Local     []netip.Prefix
	Remote    []netip.Prefix
	Protocols []uint8
	Ports     [][2]uint16
	Incoming  bool
	Outgoing  bool
	LimitBPS  float64 // bits per second and host that stay exempt; 0 no limit
	DoNotAct  bool    // nothing is exempt: attacks on Local are told, and never acted on
	Until     time.Time
	Range     hcl.Range
}

// Unit is what a limit is measured in.
type Unit string

// The units: packets, bits and new flows per second.
const (
	PPS Unit = "pps"
	BPS Unit = "bps"
	FPS Unit = "fps"
)

// HostGroup is prefixes with their own thresholds; everything it inherits
// from its base is already merged in.
type HostGroup struct {
	Name       string
	Base       *HostGroup
	Networks   []*Network
	Prefixes   []netip.Prefix // its own and its networks'
	Average    time.Duration
	Quiet      time.Duration // below 0.75 of every limit for this long: the attack has ended
	Mode       Mode          // "" inherits the daemon's
	V6Host     uint8         // length of an IPv6 host: 128, 64 or 56
	Detection  string        // DetectionDefault or DetectionCommunity, which has no bursts
	Burst      []Burst       // nil: DefaultBurst; empty: the average alone
	Actions    []Reference   // nil: the pipeline's
	Thresholds []*Threshold
	Mitigation Mitigation
	Range      hcl.Range
}

// Threshold is up to three limits on one counter.
type Threshold struct {
	Name      string
	Direction string      // "incoming", "outgoing", or "" for each direction apart
	Counter   string      // name of a built-in or user-defined counter; "total" if unset
	Scope     string      // "host", "prefix", "hostgroup" or "network"
	PrefixLen [2]uint8    // scope "prefix": lengths in IPv4 and IPv6; else 0
	PPS       float64     // packets per second; 0 unset
	BPS       float64     // bits per second
	FPS       float64     // new flows per second
	Burst     []Burst     // of pps and bps; nil: the group's
	Mode      Mode        // "" inherits
	Actions   []Reference // nil: the group's
	Range     hcl.Range
}

// Reference names a plugin block, and maybe a target block inside it.
type Reference struct {
	Kind, Plugin, Instance string
	Target                 string
	Block                  *Plugin
	Range                  hcl.Range
}

// Plugin is one capture, filter, action or export block.
type Plugin struct {
	Kind     string   // capture, filter, action, export
	Name     string   // of the plugin: first label
	Instance string   // second label
	Mode     Mode     // actions: "" inherits
	Body     hcl.Body // what the plugin's own schema decodes
	Process  Process
	Range    hcl.Range        // of the block's header
	Context  *hcl.EvalContext // locals and functions for evaluating Body
	Value    cty.Value        // set by Decode; secrets in it carry the mark Sensitive
}

// Process is what the core reads inside a plugin's block.
type Process struct {
	Path         string            // program; "" searches
	Env          map[string]string // may hold secrets: never show the values
	User         string
	Capabilities []string
	Memory       uint64        // octets; 0 no limit
	StandbyFor   string        // captures: "capture.PLUGIN.INSTANCE" in whose silence it counts; "" always
	OnFailure    string        // filters: bypass, drop or stop
	Period       time.Duration // exports
	Hosts        int           // exports: in a snapshot; 0 default, -1 none
	Backoff      time.Duration // first restart delay; 0 default
	MaxBackoff   time.Duration
	StartTimeout time.Duration
	Timeout      time.Duration // of one call
	Mode         Mode
	Single       bool   // actions: is told of each attack by itself
	OnStop       string // actions: OnStopKeep or OnStopWithdraw
	Range        hcl.Range
}

// Pipeline wires captures to what follows them.
type Pipeline struct {
	Name     string
	Captures []*Plugin
	Filters  []*Plugin
	Actions  []Reference
	Exports  []*Plugin
	Range    hcl.Range
}

// DefaultRuntimeDir is where sockets are made unless the daemon block says
// otherwise.
const DefaultRuntimeDir = "/run/fastnetmon"

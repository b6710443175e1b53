package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Backend is the daemon as the control socket sees it. Calls come from several
// goroutines at a time. One should return soon after ctx is done; its caller
// does not wait for longer.
type Backend interface {
	Status(ctx context.Context) (Status, error)

	// Snapshot gives totals, attacks and ledger, and the top hosts by packets,
	// both directions together. With hosts 0 no host is looked at.
	Snapshot(ctx context.Context, hosts int) (sdk.Snapshot, error)

	// Hosts gives the hosts that a query asks for, highest first. The query is
	// complete and its counter, unit and direction are valid. ErrBadQuery:
	// there is no such hostgroup or network.
	Hosts(ctx context.Context, q HostQuery) ([]sdk.HostRate, error)

	// Plugins lists each block in use: captures, filters, actions, exports, each
	// in the order of the configuration.
	Plugins(ctx context.Context) ([]PluginStatus, error)

	// Tables gives a table of each capture that runs and has one, in the order of
	// the configuration. One that does not answer is an error in its table only.
	Tables(ctx context.Context, name string) ([]PluginTable, error)

	// Doctor says what may keep traffic from being seen, faults first.
	Doctor(ctx context.Context) ([]Check, error)

	// Archive is of the attacks of past and present.
	Archive

	// Explain tells how an address is watched. It is valid, without a zone, and
	// IPv4 in its own form.
	Explain(ctx context.Context, addr netip.Addr) (Explanation, error)

	// Suggest makes limits of how rates were, for one hostgroup or, with "", all.
	// ErrBadQuery: there is no such hostgroup.
	Suggest(ctx context.Context, group string) (Suggested, error)

	// Mitigations lists those that are not over or, with history above 0, so many
	// that are.
	Mitigations(ctx context.Context, history int) ([]sdk.MitigationReport, error)

	// Audit lists what people did about mitigations, newest first.
	Audit(ctx context.Context, most int) ([]mitigate.Audit, error)

	// Ban asks for mitigations and returns them once it is decided what becomes of
	// them. ErrBadQuery: the query is at fault.
	Ban(ctx context.Context, q BanQuery) ([]sdk.MitigationReport, error)

	// Unban releases mitigations. ErrBadQuery: there is none of that name.
	Unban(ctx context.Context, q UnbanQuery) ([]sdk.MitigationReport, error)

	// Decide lets something that is held pass, or gives it up. ErrBadQuery: that
	// cannot be.
	Decide(ctx context.Context, q DecideQuery) ([]sdk.MitigationReport, error)

	// TestAction tries an action, and does nothing to the network. ErrBadQuery:
	// there is no such action.
	TestAction(ctx context.Context, name string, target netip.Prefix) (ActionTest, error)

	// Reload reads the configuration again. What is wrong with the configuration
	// is no error, but a result that is Refused. At most one runs at a time.
	// Lists of prefixes that have lost much are held unless they are accepted.
	Reload(ctx context.Context, acceptLists bool) (ReloadResult, error)

	// Subscribe has give called with each event from now on, in order, and
	// returns at once. give never waits, and may be called for a while after ctx
	// is done. The event and what it points to are not changed afterwards.
	Subscribe(ctx context.Context, give func(sdk.Event))
}

// ErrBadQuery marks an error of Backend as the asker's fault.
var ErrBadQuery = errors.New("bad query")

// Status says what runs, and how much it sees.
type Status struct {
	Version     string // of the daemon
	Revision    string // of the configuration in force
	Mode        string // "monitor" or "enforce"
	Started     time.Time
	Uptime      time.Duration // by the monotonic clock
	Captures    Count
	Filters     Count
	Actions     Count
	Exports     Count
	Hosts       uint64          // that have a row of their own
	Deltas      float64         // applied per second
	Rates       []DirectionRate // incoming, outgoing, internal, other
	Attacks     int             // in progress
	LossRatio   float64         // share of records that the inputs dropped in the last ten seconds
	Suspended   string          // what was disturbed, so that attacks it shows are not enforced just now; "": nothing
	Memory      uint64          // octets, of the tables of hosts
	MemoryLimit uint64          // octets
	Held        []string        // lists of prefixes that are not in force as they stand, and why
	Troubles    []string        // what is wrong with the daemon itself, a sentence each
}

// Count is the number of blocks of a kind by what has become of them.
type Count struct {
	Running    int `json:"running"`
	NotRunning int `json:"not_running"` // but for finished ones
	Finished   int `json:"finished"`    // captures whose input has ended
}

// DirectionRate is all traffic of a direction.
type DirectionRate struct {
	Direction string  `json:"direction"`
	PPS       float64 `json:"pps"` // packets per second
	BPS       float64 `json:"bps"` // bits per second
}

// MaxHosts is the largest number of hosts that a query gives.
const MaxHosts = 1000

// defaultHosts is how many hosts a query gives that does not say.
const defaultHosts = 20

// HostQuery asks for the hosts with the highest rates. Group, Network and
// Prefix take away hosts before the top ones are chosen.
type HostQuery struct {
	Top       int          // number of hosts, 1 to MaxHosts
	Counter   string       // built-in, to order by
	Unit      string       // "pps", "bps" or "fps", to order by; "fps" with "total" only
	Direction string       // "incoming", "outgoing", or "both": by their sum, with a row for each
	Group     string       // "": all
	Network   string       // "": all
	Prefix    netip.Prefix // not valid: all
}

// complete fills in what a query leaves out, and tells what is wrong with it.
func (q HostQuery) complete() (HostQuery, error) {
	q.Counter = cmp.Or(q.Counter, detect.CounterNames[0])
	q.Unit = cmp.Or(q.Unit, "pps")
	q.Direction = cmp.Or(q.Direction, "incoming")
	if q.Top == 0 {
		q.Top = defaultHosts
	}
	if q.Top < 0 || q.Top > MaxHosts {
		return q, fmt.Errorf("%w: %d hosts: ask for 1 to %d", ErrBadQuery, q.Top, MaxHosts)
	}
	for _, choice := range []struct {
		what, value string
		of          []string
	}{
		{"counter", q.Counter, detect.CounterNames[:]},
		{"unit", q.Unit, []string{"pps", "bps", "fps"}},
		{"direction", q.Direction, []string{"incoming", "outgoing", "both"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return q, fmt.Errorf("%w: no %s %.60q: use one of %s", ErrBadQuery, choice.what, choice.value, strings.Join(choice.of, ", "))
		}
	}
	if q.Unit == "fps" && q.Counter != detect.CounterNames[0] {
		return q, fmt.Errorf("%w: flows are counted for all traffic only: use fps with the counter %s", ErrBadQuery, detect.CounterNames[0])
	}
	if q.Prefix.IsValid() {
		q.Prefix = q.Prefix.Masked()
	}
	return q, nil
}

// PluginStatus is one configured block and its process. Events are counted
// since the daemon started, for actions and exports.
type PluginStatus struct {
	Kind      string    `json:"kind"`     // capture, filter, action, export
	Name      string    `json:"name"`     // of the plugin
	Instance  string    `json:"instance"` // of the block
	Version   string    `json:"version"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"` // of the state
	Message   string    `json:"message"`        // why, in states that have a reason
	PID       int       `json:"pid"`            // 0 without a process
	Launches  int       `json:"launches"`
	Retry     time.Time `json:"retry,omitzero"` // backing-off: when it is launched again
	Delivered uint64    `json:"delivered"`
	Failed    uint64    `json:"failed"`             // events that it would not take
	Dropped   uint64    `json:"dropped"`            // events that found its queue full
	Queued    uint64    `json:"queued"`             // events that wait now
	Pipeline  string    `json:"pipeline,omitempty"` // of a filter: it has a process in every pipeline that names it
	Rights    string    `json:"rights,omitempty"`   // whose rights the process has, and what bounds it

	Failures      int       `json:"failures"`               // launches that came to nothing, and processes that ended unasked
	LastFailure   string    `json:"last_failure,omitempty"` // why, of the newest
	LastFailureAt time.Time `json:"last_failure_at,omitzero"`

	Figures []sdk.Metric `json:"figures,omitempty"` // what the plugin says of itself
}

// PluginTable is a table of one capture.
type PluginTable struct {
	Plugin string // name and instance: netflow.routers
	Rows   sdk.Rows
	Error  string // why it has no rows, or not all; "" where it has
}

// Suggested is limits with the evidence for them.
type Suggested struct {
	HCL    string // hostgroup blocks to paste
	Report []byte // the same as JSON
}

// Check is one thing that Doctor has looked at.
type Check struct {
	Input  string `json:"input"` // capture it is about: netflow.routers; "" for all together
	Name   string `json:"check"`
	State  string `json:"state"`  // "ok", "warn" or "fault"
	Detail string `json:"detail"` // what was found and what to do
}

// ReloadResult is what a reload came to.
type ReloadResult struct {
	Changed     bool     `json:"changed"`     // something is in force that was not before
	Refused     bool     `json:"refused"`     // the configuration is at fault: the old one stays in force
	Revision    string   `json:"revision"`    // in force now
	Differences []string `json:"differences"` // a line each, without secrets
	Diagnostics string   `json:"diagnostics"` // what is wrong with the configuration, for people
}

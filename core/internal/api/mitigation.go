package api

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Bounds on what people ask for.
const (
	// MaxHistory is how much of what is over a query gives.
	MaxHistory   = 1000
	defaultAudit = 100
	maxReason    = 500 // runes
	maxActions   = 32
)

// BanQuery asks for mitigations of a target.
type BanQuery struct {
	Who       string // user of the process that asks; the server fills it in
	Target    netip.Prefix
	Direction string // "": incoming
	For       time.Duration
	Reason    string
	Actions   []string // none: those that an attack on the target would call
	Set       map[string][]string
}

// UnbanQuery names mitigations: one by its id, those inside a prefix, or all.
type UnbanQuery struct {
	Who    string
	ID     string
	Prefix netip.Prefix
	All    bool
	Reason string
}

// DecideQuery says what becomes of something that is held.
type DecideQuery struct {
	Who     string
	ID      string
	Release bool // else it is refused
	Reason  string
}

// ActionTest is what came of trying an action.
type ActionTest struct {
	Lines  []string `json:"lines"` // for people
	Failed bool     `json:"failed"`
}

func mitigationOut(m *sdk.MitigationReport) *apiv1.Mitigation {
	if m == nil {
		return nil
	}
	return &apiv1.Mitigation{
		Id: text(m.ID), AttackId: text(m.AttackID), Target: prefixText(m.Target), Direction: text(m.Direction), Hostgroup: text(m.HostGroup),
		Action: text(m.Action), State: text(string(m.State)), Cause: text(m.Cause), TimeUnixNano: nanos(m.Time),
		RequestedUnixNano: nanos(m.Requested), ExpiresUnixNano: nanos(m.Expires), By: text(m.By), Reason: text(m.Reason),
		Announcements: each(m.Announcements, text),
		Peers: each(m.Peers, func(p sdk.PeerStatus) *apiv1.Peer {
			return &apiv1.Peer{Peer: text(p.Peer), State: text(string(p.State)), Cause: text(p.Cause)}
		}),
	}
}

func mitigationIn(m *apiv1.Mitigation) *sdk.MitigationReport {
	if m == nil {
		return nil
	}
	return &sdk.MitigationReport{
		ID: m.GetId(), AttackID: m.GetAttackId(), Target: prefixOf(m.GetTarget()), Direction: m.GetDirection(), HostGroup: m.GetHostgroup(),
		Action: m.GetAction(), State: sdk.MitigationState(m.GetState()), Cause: m.GetCause(), Time: timeOf(m.GetTimeUnixNano()),
		Requested: timeOf(m.GetRequestedUnixNano()), Expires: timeOf(m.GetExpiresUnixNano()), By: m.GetBy(), Reason: m.GetReason(),
		Announcements: m.GetAnnouncements(),
		Peers: each(m.GetPeers(), func(p *apiv1.Peer) sdk.PeerStatus {
			return sdk.PeerStatus{Peer: p.GetPeer(), State: sdk.MitigationState(p.GetState()), Cause: p.GetCause()}
		}),
	}
}

func mitigationsOut(list []sdk.MitigationReport, err error) (*apiv1.MitigationsResponse, error) {
	if err != nil {
		return nil, err
	}
	return &apiv1.MitigationsResponse{Mitigations: each(list, func(m sdk.MitigationReport) *apiv1.Mitigation { return mitigationOut(&m) })}, nil
}

func mitigationsIn(resp *apiv1.MitigationsResponse) []sdk.MitigationReport {
	return each(resp.GetMitigations(), func(m *apiv1.Mitigation) sdk.MitigationReport { return *mitigationIn(m) })
}

// Mitigations is apiv1.ControlServer's.
func (s *server) Mitigations(ctx context.Context, req *apiv1.MitigationsRequest) (*apiv1.MitigationsResponse, error) {
	most := int(min(req.GetHistory(), MaxHistory))
	return mitigationsOut(call(ctx, s, callTime, func(ctx context.Context) ([]sdk.MitigationReport, error) { return s.backend.Mitigations(ctx, most) }))
}

// Audit is apiv1.ControlServer's.
func (s *server) Audit(ctx context.Context, req *apiv1.AuditRequest) (*apiv1.AuditResponse, error) {
	most := int(min(req.GetMost(), MaxHistory))
	if most == 0 {
		most = defaultAudit
	}
	got, err := call(ctx, s, callTime, func(ctx context.Context) ([]mitigate.Audit, error) { return s.backend.Audit(ctx, most) })
	if err != nil {
		return nil, err
	}
	return &apiv1.AuditResponse{Entries: each(got, func(a mitigate.Audit) *apiv1.AuditEntry {
		return &apiv1.AuditEntry{
			TimeUnixNano: nanos(a.Time), Who: text(a.Who), What: text(a.What), Id: text(a.ID), Target: text(a.Target), Action: text(a.Action),
			Reason: text(a.Reason), Result: text(a.Result),
		}
	})}, nil
}

// Ban is apiv1.ControlServer's.
func (s *server) Ban(ctx context.Context, req *apiv1.BanRequest) (*apiv1.MitigationsResponse, error) {
	q, err := banIn(ctx, req)
	if err != nil {
		return nil, failure(err)
	}
	return mitigationsOut(call(ctx, s, callTime, func(ctx context.Context) ([]sdk.MitigationReport, error) { return s.backend.Ban(ctx, q) }))
}

// banIn reads a query, which anybody may have written.
func banIn(ctx context.Context, req *apiv1.BanRequest) (BanQuery, error) {
	q := BanQuery{Who: caller(ctx), For: time.Duration(req.GetForNano()), Reason: req.GetReason(), Actions: req.GetActions(), Direction: req.GetDirection(), Set: map[string][]string{}}
	for name, v := range req.GetSet() {
		q.Set[name] = v.GetValues()
	}
	target, err := ParsePrefix(req.GetPrefix())
	if err != nil {
		return q, fmt.Errorf("%w: %w", ErrBadQuery, err)
	}
	q.Target = target
	return q, q.check()
}

// check tells what is wrong with a query.
func (q *BanQuery) check() error {
	if q.Direction == "" {
		q.Direction = "incoming"
	}
	switch {
	case q.Direction != "incoming" && q.Direction != "outgoing":
		return fmt.Errorf("%w: no direction %.60q: use incoming or outgoing", ErrBadQuery, q.Direction)
	case q.For < time.Second || q.For > maxBan:
		return fmt.Errorf("%w: a ban lasts from 1s to %s, not %s", ErrBadQuery, maxBan, q.For)
	case len(q.Actions) > maxActions:
		return fmt.Errorf("%w: %d actions: name at most %d", ErrBadQuery, len(q.Actions), maxActions)
	case strings.TrimSpace(q.Reason) == "":
		return fmt.Errorf("%w: a ban needs a reason, for those who find it later: say why with --reason", ErrBadQuery)
	case q.Target.Addr().Is4In6():
		return fmt.Errorf("%w: %v is an IPv4 address in IPv6: write it as IPv4", ErrBadQuery, q.Target)
	}
	return checkReason(q.Reason)
}

// maxBan is the longest time that a person may ask for.
const maxBan = 366 * 24 * time.Hour

func checkReason(reason string) error {
	if n := len([]rune(reason)); n > maxReason {
		return fmt.Errorf("%w: the reason has %d characters: use at most %d", ErrBadQuery, n, maxReason)
	}
	return nil
}

// Unban is apiv1.ControlServer's.
func (s *server) Unban(ctx context.Context, req *apiv1.UnbanRequest) (*apiv1.MitigationsResponse, error) {
	q := UnbanQuery{Who: caller(ctx), ID: req.GetId(), All: req.GetAll(), Reason: req.GetReason()}
	if err := checkReason(q.Reason); err != nil {
		return nil, failure(err)
	}
	if p := req.GetPrefix(); p != "" {
		prefix, err := ParsePrefix(p)
		if err != nil {
			return nil, failure(fmt.Errorf("%w: %w", ErrBadQuery, err))
		}
		q.Prefix = prefix
	}
	return mitigationsOut(call(ctx, s, callTime, func(ctx context.Context) ([]sdk.MitigationReport, error) { return s.backend.Unban(ctx, q) }))
}

// Decide is apiv1.ControlServer's.
func (s *server) Decide(ctx context.Context, req *apiv1.DecideRequest) (*apiv1.MitigationsResponse, error) {
	q := DecideQuery{Who: caller(ctx), ID: req.GetId(), Release: req.GetRelease(), Reason: req.GetReason()}
	if err := checkReason(q.Reason); err != nil {
		return nil, failure(err)
	}
	return mitigationsOut(call(ctx, s, callTime, func(ctx context.Context) ([]sdk.MitigationReport, error) { return s.backend.Decide(ctx, q) }))
}

// TestAction is apiv1.ControlServer's.
func (s *server) TestAction(ctx context.Context, req *apiv1.TestActionRequest) (*apiv1.TestActionResponse, error) {
	var target netip.Prefix
	if p := req.GetTarget(); p != "" {
		var err error
		if target, err = ParsePrefix(p); err != nil {
			return nil, failure(fmt.Errorf("%w: %w", ErrBadQuery, err))
		}
	}
	got, err := call(ctx, s, testTime, func(ctx context.Context) (ActionTest, error) {
		return s.backend.TestAction(ctx, req.GetAction(), target)
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.TestActionResponse{Lines: each(got.Lines, text), Failed: got.Failed}, nil
}

// Mitigations asks for those that are not over or, with history above 0, for so
// many that are.
func (c *Client) Mitigations(ctx context.Context, history int) ([]sdk.MitigationReport, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.MitigationsRequest{History: uint32(history)}, c.rpc.Mitigations)
	return mitigationsIn(resp), err
}

// Audit asks what people did about mitigations.
func (c *Client) Audit(ctx context.Context, most int) ([]mitigate.Audit, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.AuditRequest{Most: uint32(most)}, c.rpc.Audit)
	return each(resp.GetEntries(), func(a *apiv1.AuditEntry) mitigate.Audit {
		return mitigate.Audit{
			Time: timeOf(a.GetTimeUnixNano()), Who: a.GetWho(), What: a.GetWhat(), ID: a.GetId(), Target: a.GetTarget(), Action: a.GetAction(),
			Reason: a.GetReason(), Result: a.GetResult(),
		}
	}), err
}

// Ban asks for mitigations. ErrBadQuery: the query is at fault.
func (c *Client) Ban(ctx context.Context, q BanQuery) ([]sdk.MitigationReport, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	req := &apiv1.BanRequest{Prefix: prefixText(q.Target), ForNano: int64(q.For), Reason: text(q.Reason), Actions: q.Actions, Direction: q.Direction, Set: map[string]*apiv1.Values{}}
	for name, values := range q.Set {
		req.Set[text(name)] = &apiv1.Values{Values: each(values, text)}
	}
	resp, err := ask(ctx, c, callTime, req, c.rpc.Ban)
	return mitigationsIn(resp), err
}

// Unban releases mitigations. ErrBadQuery: there is none.
func (c *Client) Unban(ctx context.Context, q UnbanQuery) ([]sdk.MitigationReport, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.UnbanRequest{Id: text(q.ID), Prefix: prefixText(q.Prefix), All: q.All, Reason: text(q.Reason)}, c.rpc.Unban)
	return mitigationsIn(resp), err
}

// Decide lets something that is held pass, or gives it up. ErrBadQuery: that
// cannot be.
func (c *Client) Decide(ctx context.Context, q DecideQuery) ([]sdk.MitigationReport, error) {
	resp, err := ask(ctx, c, callTime, &apiv1.DecideRequest{Id: text(q.ID), Release: q.Release, Reason: text(q.Reason)}, c.rpc.Decide)
	return mitigationsIn(resp), err
}

// TestAction tries an action. ErrBadQuery: there is no such one.
func (c *Client) TestAction(ctx context.Context, name string, target netip.Prefix) (ActionTest, error) {
	resp, err := ask(ctx, c, testTime, &apiv1.TestActionRequest{Action: text(name), Target: prefixText(target)}, c.rpc.TestAction)
	return ActionTest{Lines: resp.GetLines(), Failed: resp.GetFailed()}, err
}

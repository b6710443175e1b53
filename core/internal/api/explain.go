package api

import (
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Explanation is how one address is watched, and how it stands.
type Explanation struct {
	Address       netip.Addr       `json:"address"`
	Host          netip.Prefix     `json:"host"`             // as it is counted
	Known         bool             `json:"known"`            // it has rates of its own at the moment
	Network       string           `json:"network"`          // "": the address is not ours
	NetworkPrefix netip.Prefix     `json:"network_prefix"`   // the longest that holds it; not valid without Network
	Group         string           `json:"hostgroup"`        // "": none covers it
	GroupPrefix   netip.Prefix     `json:"hostgroup_prefix"` // not valid without Group
	Chain         []string         `json:"chain"`            // the hostgroup, its base, and so on
	Mode          string           `json:"mode"`
	ModeReason    string           `json:"mode_reason"`
	Suspended     string           `json:"suspended"` // why attacks are not enforced just now, "" where they are
	Revision      string           `json:"revision"`
	Limits        []LimitState     `json:"limits"` // in the order in which they name an attack
	Exemptions    []ExemptionState `json:"exemptions"`
	Attacks       []sdk.Event      `json:"attacks"` // in progress
	Would         []string         `json:"would"`   // what would be done about an attack, a line each

	Mitigations []sdk.MitigationReport `json:"mitigations"` // of it that are not over
}

// LimitState is where a host stands with one limit.
type LimitState struct {
	Threshold string   `json:"threshold"`
	Scope     string   `json:"scope"`
	Direction string   `json:"direction"`
	Counter   string   `json:"counter"`
	Unit      string   `json:"unit"`  // pps, bps or fps
	Limit     float64  `json:"limit"` // in that unit
	Value     float64  `json:"value"` // average, in that unit
	Share     float64  `json:"share"` // value by limit
	Rules     []string `json:"rules"` // any of which fires: average, ticks and factor as 7x1.5, or fastnetmon
	Mode      string   `json:"mode"`
	Actions   []string `json:"actions"`
	State     string   `json:"state"` // below, above or crossed
}

// ExemptionState is an exemption that holds for some traffic of a host.
type ExemptionState struct {
	Name       string    `json:"name"`
	Conditions string    `json:"conditions"`
	LimitBPS   float64   `json:"limit_bps"` // bits per second and host; 0: no limit
	Until      time.Time `json:"until,omitzero"`
}

func explanationOut(e *Explanation) *apiv1.ExplainResponse {
	return &apiv1.ExplainResponse{
		Address: e.Address.String(), Host: prefixText(e.Host), Known: e.Known,
		Network: text(e.Network), NetworkPrefix: prefixText(e.NetworkPrefix),
		Hostgroup: text(e.Group), HostgroupPrefix: prefixText(e.GroupPrefix), Chain: each(e.Chain, text),
		Mode: text(e.Mode), ModeReason: text(e.ModeReason), Suspended: text(e.Suspended), Revision: text(e.Revision),
		Limits: each(e.Limits, func(l LimitState) *apiv1.LimitState {
			return &apiv1.LimitState{
				Threshold: text(l.Threshold), Scope: text(l.Scope), Direction: text(l.Direction), Counter: text(l.Counter), Unit: text(l.Unit),
				Limit: l.Limit, Value: l.Value, Share: l.Share, Rules: each(l.Rules, text), Mode: text(l.Mode), Actions: each(l.Actions, text), State: text(l.State),
			}
		}),
		Exemptions: each(e.Exemptions, func(x ExemptionState) *apiv1.ExemptionState {
			return &apiv1.ExemptionState{Name: text(x.Name), Conditions: text(x.Conditions), LimitBps: x.LimitBPS, UntilUnixNano: nanos(x.Until)}
		}),
		Attacks:     each(e.Attacks, func(a sdk.Event) *apiv1.Event { return eventOut(&a) }),
		Would:       each(e.Would, text),
		Mitigations: each(e.Mitigations, func(m sdk.MitigationReport) *apiv1.Mitigation { return mitigationOut(&m) }),
	}
}

func explanationIn(e *apiv1.ExplainResponse) Explanation {
	same := func(s string) string { return s }
	addr, err := netip.ParseAddr(e.GetAddress())
	if err != nil {
		addr = netip.Addr{}
	}
	return Explanation{
		Address: addr, Host: prefixOf(e.GetHost()), Known: e.GetKnown(),
		Network: e.GetNetwork(), NetworkPrefix: prefixOf(e.GetNetworkPrefix()),
		Group: e.GetHostgroup(), GroupPrefix: prefixOf(e.GetHostgroupPrefix()), Chain: each(e.GetChain(), same),
		Mode: e.GetMode(), ModeReason: e.GetModeReason(), Suspended: e.GetSuspended(), Revision: e.GetRevision(),
		Limits: each(e.GetLimits(), func(l *apiv1.LimitState) LimitState {
			return LimitState{
				Threshold: l.GetThreshold(), Scope: l.GetScope(), Direction: l.GetDirection(), Counter: l.GetCounter(), Unit: l.GetUnit(),
				Limit: l.GetLimit(), Value: l.GetValue(), Share: l.GetShare(), Rules: each(l.GetRules(), same),
				Mode: l.GetMode(), Actions: each(l.GetActions(), same), State: l.GetState(),
			}
		}),
		Exemptions: each(e.GetExemptions(), func(x *apiv1.ExemptionState) ExemptionState {
			return ExemptionState{Name: x.GetName(), Conditions: x.GetConditions(), LimitBPS: x.GetLimitBps(), Until: timeOf(x.GetUntilUnixNano())}
		}),
		Attacks: each(e.GetAttacks(), eventIn), Would: each(e.GetWould(), same),
		Mitigations: each(e.GetMitigations(), func(m *apiv1.Mitigation) sdk.MitigationReport { return *mitigationIn(m) }),
	}
}

package sdktest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// counterNames are the built-in counters in the order that snapshots have them.
var counterNames = []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"}

// Snapshot makes a snapshot at a time with n hosts, every second one an IPv6
// host, two networks (customers, of one prefix, and servers, of several), a
// hostgroup, an attack with a mitigation, and figures of the program. The same arguments give the
// same values, all different and whole, so that a test finds each of them.
func Snapshot(at time.Time, n int) sdk.Snapshot {
	v := 1000.0
	counters := func() (out []sdk.CounterRate) {
		for _, name := range counterNames {
			v++
			out = append(out, sdk.CounterRate{Counter: name, PPS: v, BPS: 8 * 100 * v})
		}
		return out
	}
	flows := func() float64 {
		v++
		return v
	}
	s := sdk.Snapshot{Time: at, Period: time.Second}
	for _, family := range []int{4, 6} {
		for _, direction := range []string{"incoming", "outgoing", "internal", "other"} {
			s.Totals = append(s.Totals, sdk.TotalRate{Direction: direction, Family: family, Counters: counters(), Flows: flows()})
		}
	}
	scope := func(name string, prefixes ...string) (out []sdk.ScopeRate) {
		for _, direction := range []string{"incoming", "outgoing"} {
			row := sdk.ScopeRate{Name: name, Direction: direction, Counters: counters(), Flows: flows()}
			for _, p := range prefixes {
				row.Prefixes = append(row.Prefixes, netip.MustParsePrefix(p))
			}
			out = append(out, row)
		}
		return out
	}
	s.Networks = append(scope("customers", "10.0.0.0/8"), append(scope("six", "2001:db8::/32"), scope("servers", "192.0.2.0/24", "198.51.100.0/24")...)...)
	s.Groups = scope("default")
	for i := range n {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 17), byte(i >> 9), byte(i >> 1)}), 32)
		if i%2 == 1 {
			b := netip.MustParseAddr("2001:db8::").As16()
			b[13], b[14], b[15] = byte(i>>16), byte(i>>8), byte(i)
			host = netip.PrefixFrom(netip.AddrFrom16(b), 128)
		}
		for _, direction := range []string{"incoming", "outgoing"} {
			s.Hosts = append(s.Hosts, sdk.HostRate{
				Host: host, Group: "default", Network: "customers", Direction: direction, Counters: counters(), Flows: flows(),
			})
		}
	}
	attack := Event()
	attack.Type, attack.Seq, attack.Time = sdk.AttackUpdated, 2, at
	s.Attacks = []sdk.Event{attack}
	s.Mitigations = []sdk.MitigationReport{*mitigation(at, &attack)}
	s.Ledger = []sdk.LedgerRow{{Input: "pcap.file", Received: 1000, Used: 990, InFlight: 3, Dropped: map[string]uint64{"truncated": 7}}}
	s.System = []sdk.Metric{
		{Name: "hosts", Value: float64(n)},
		{Name: "deltas", Value: 12345},
		{Name: "plugin_up:plugin=capture.pcap.file", Value: 1},
		{Name: "tick_seconds_sum", Value: 0.25},
	}
	return s
}

// Attack is the life of the n-th of many attacks: started, an update, ended. The
// targets are 10.1.x.y, and times are whole milliseconds from at on.
func Attack(at time.Time, n int) []sdk.Event {
	e := Event()
	e.ID = fmt.Sprintf("%016x", n+1)
	e.Target = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 32)
	e.Time, e.Started, e.At = at, at, at
	e.PeakPPS, e.InitialPPS = float64(30000+n), float64(30000+n)
	update := e
	update.Type, update.Seq, update.Time = sdk.AttackUpdated, 2, at.Add(250*time.Millisecond)
	end := update
	end.Type, end.Seq, end.Time = sdk.AttackEnded, 3, at.Add(500*time.Millisecond)
	return []sdk.Event{e, update, end}
}

// Mitigated is the life of the mitigation of the n-th attack of Attack:
// requested, active, released.
func Mitigated(at time.Time, n int) []sdk.Event {
	e := Attack(at, n)[0]
	e.Type = sdk.MitigationChanged
	out := make([]sdk.Event, 3)
	for i, state := range []sdk.MitigationState{sdk.MitigationRequested, sdk.MitigationActive, sdk.MitigationReleased} {
		m := mitigation(at, &e)
		m.State, m.Time = state, at.Add(time.Duration(i)*100*time.Millisecond)
		out[i] = e
		out[i].Time, out[i].Mitigation = m.Time, m
	}
	return out
}

// mitigation is one that is in force for an attack since a time.
func mitigation(at time.Time, e *sdk.Event) *sdk.MitigationReport {
	return &sdk.MitigationReport{
		ID: "m-" + e.ID, AttackID: e.ID, Target: e.Target, Direction: e.Direction, HostGroup: e.HostGroup, Action: "action.gobgp.edge.blackhole",
		State: sdk.MitigationActive, Cause: "the neighbour has it", Time: at, Requested: at, Expires: at.Add(10 * time.Minute),
		Announcements: []string{e.Target.String() + " next hop 192.0.2.66"},
		Peers:         []sdk.PeerStatus{{Peer: "192.0.2.254", State: sdk.MitigationActive}},
	}
}

package delivery

import (
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Layouts of what is written: our own, and that of FastNetMon Community, name
// for name, for dashboards and scripts that are there already.
const (
	LayoutNative     = "native"
	LayoutFastNetMon = "fastnetmon"
)

// CheckLayout complains of an attribute that names no layout.
func CheckLayout(at diag.Path, layout string) diag.Diagnostics {
	switch layout {
	case LayoutNative, LayoutFastNetMon:
		return nil
	}
	return diag.Diagnostics{diag.Errorf(at, "Unknown layout", "%q is neither %q nor %q, which has the names of FastNetMon Community.", layout, LayoutNative, LayoutFastNetMon)}
}

// Rates are the rates of one thing in one direction.
type Rates struct {
	Counters []sdk.CounterRate
	Flows    float64 // new ones a second
}

// Of is a counter's rate; zero where there is none.
func (r *Rates) Of(counter string) sdk.CounterRate {
	for _, c := range r.Counters {
		if c.Counter == counter {
			return c
		}
	}
	return sdk.CounterRate{Counter: counter}
}

// Pair is a host, a network or a hostgroup with its rates in both directions:
// those in which nothing moves are zero.
type Pair struct {
	Host               netip.Prefix // of a host
	Name               string       // of a network or hostgroup
	Group, Network     string       // of a host
	Prefixes           []netip.Prefix
	Incoming, Outgoing Rates
}

func (p *Pair) set(direction string, counters []sdk.CounterRate, flows float64) {
	if direction == "outgoing" {
		p.Outgoing = Rates{counters, flows}
		return
	}
	p.Incoming = Rates{counters, flows}
}

// CIDR is what the original calls a network by: its prefix, or, of several that
// are counted together, their name.
func (p *Pair) CIDR() string {
	if len(p.Prefixes) == 1 {
		return p.Prefixes[0].String()
	}
	return p.Name
}

// Family is 4 or 6: of a host, or of a network's first prefix.
func (p *Pair) Family() int {
	first := p.Host
	if len(p.Prefixes) > 0 {
		first = p.Prefixes[0]
	}
	if first.IsValid() && first.Addr().Is6() {
		return 6
	}
	return 4
}

// Hosts are the hosts of a snapshot, in its order.
func Hosts(s *sdk.Snapshot) []Pair {
	return pairs(s.Hosts, func(h *sdk.HostRate) netip.Prefix { return h.Host }, func(p *Pair, h *sdk.HostRate) {
		p.Host, p.Group, p.Network = h.Host, h.Group, h.Network
		p.set(h.Direction, h.Counters, h.Flows)
	})
}

// Scopes are the networks or hostgroups of a snapshot, in its order.
func Scopes(rows []sdk.ScopeRate) []Pair {
	return pairs(rows, func(r *sdk.ScopeRate) string { return r.Name }, func(p *Pair, r *sdk.ScopeRate) {
		p.Name, p.Prefixes = r.Name, r.Prefixes
		p.set(r.Direction, r.Counters, r.Flows)
	})
}

func pairs[R any, K comparable](rows []R, key func(*R) K, add func(*Pair, *R)) []Pair {
	out := make([]Pair, 0, len(rows))
	at := make(map[K]int, len(rows))
	for i := range rows {
		k := key(&rows[i])
		n, ok := at[k]
		if !ok {
			n = len(out)
			at[k] = n
			out = append(out, Pair{})
		}
		add(&out[n], &rows[i])
	}
	return out
}

// CommunityCounters are the counters that the original has in the rows of
// hosts, networks and totals beside all traffic, by its names; ours are Counter.
var CommunityCounters = []struct{ Name, Counter string }{
	{"tcp", "tcp"}, {"udp", "udp"}, {"icmp", "icmp"}, {"fragmented", "fragmented"}, {"tcp_syn", "tcp_syn"}, {"dropped", "dropped"},
}

// CommunitySystem is what we have of the original's counters of the system, by
// its names.
func CommunitySystem(s *sdk.Snapshot) []sdk.Metric {
	var processed, hosts float64
	for i := range s.Ledger {
		processed += float64(s.Ledger[i].Received)
	}
	for _, m := range s.System {
		if m.Name == "hosts" {
			hosts = m.Value
		}
	}
	return []sdk.Metric{{Name: "total_simple_packets_processed", Value: processed}, {Name: "total_number_of_hosts", Value: hosts}}
}

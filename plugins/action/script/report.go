package main

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// reportCounters are the counters of the report in its order, by the label
// that scripts know them under and by our own name.
var reportCounters = []struct{ label, counter string }{
	{"ip fragmented", "fragmented"},
	{"dropped", "dropped"},
	{"tcp", "tcp"},
	{"syn tcp", "tcp_syn"},
	{"udp", "udp"},
	{"icmp", "icmp"},
}

// textReport is the counter part of the report that FastNetMon Community
// gives to its notify script: the same labels in the same order, integers
// only, a blank line at the end.
func textReport(e sdk.Event) []byte {
	in, out := byCounter(e.Incoming), byCounter(e.Outgoing)
	var b []byte
	line := func(label, value, unit string) {
		b = append(b, label...)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, unit...)
		b = append(b, '\n')
	}
	const pps, mbps, fps = " packets per second", " mbps", " flows per second"

	line("IP", targetText(e.Target), "")
	line("Attack type", e.AttackType, "")
	line("Initial attack power", whole(e.InitialPPS), pps)
	line("Peak attack power", whole(e.PeakPPS), pps)
	line("Attack direction", e.Direction, "")
	line("Attack protocol", e.Protocol, "")
	line("Total incoming traffic", megabits(in("total").BPS), mbps)
	line("Total outgoing traffic", megabits(out("total").BPS), mbps)
	line("Total incoming pps", whole(in("total").PPS), pps)
	line("Total outgoing pps", whole(out("total").PPS), pps)
	line("Total incoming flows", whole(e.Flows[0]), fps)
	line("Total outgoing flows", whole(e.Flows[1]), fps)
	for _, c := range reportCounters {
		i, o := in(c.counter), out(c.counter)
		line("Incoming "+c.label+" traffic", megabits(i.BPS), mbps)
		line("Outgoing "+c.label+" traffic", megabits(o.BPS), mbps)
		line("Incoming "+c.label+" pps", whole(i.PPS), pps)
		line("Outgoing "+c.label+" pps", whole(o.PPS), pps)
	}
	return append(b, '\n')
}

// byCounter looks a counter's rate up by name; one that is not there is zero.
func byCounter(rates []sdk.CounterRate) func(name string) sdk.CounterRate {
	return func(name string) sdk.CounterRate {
		for _, r := range rates {
			if r.Counter == name {
				return r
			}
		}
		return sdk.CounterRate{}
	}
}

// targetText is what scripts call the IP: an address in its canonical form
// (RFC 5952), or, of a wider target, the prefix.
func targetText(p netip.Prefix) string {
	switch {
	case !p.IsValid(): // a hostgroup or network of several prefixes
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// whole cuts a rate off to an integer.
func whole(v float64) string { return strconv.FormatUint(truncate(v), 10) }

// megabits is the original's conversion, from whole bytes per second to whole
// megabits per second, in its order of operations.
func megabits(bps float64) string {
	bytes := float64(truncate(bps / 8))
	return strconv.FormatUint(truncate(bytes/1000/1000*8), 10)
}

// truncate rounds towards zero; what is not a positive number is zero.
func truncate(v float64) uint64 {
	switch {
	case !(v > 0):
		return 0
	case v >= math.MaxInt64:
		return math.MaxInt64
	}
	return uint64(v)
}

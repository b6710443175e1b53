// Package report writes an attack as FastNetMon Community does, label for label:
// what scripts, mails and tickets made for it read goes on working. The layouts
// are those of FastNetMon's get_attack_description, print_simple_packet and
// print_flow_tracking_for_ip.
package report

import (
	"math"
	"strconv"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// counters are those of the report in its order, by the label that scripts know
// them under and by our own name.
var counters = []struct{ label, counter string }{
	{"ip fragmented", "fragmented"},
	{"dropped", "dropped"},
	{"tcp", "tcp"},
	{"syn tcp", "tcp_syn"},
	{"udp", "udp"},
	{"icmp", "icmp"},
}

// Text is the whole report: the counters and, where the event has evidence, the
// packets and flows of it.
func Text(e *sdk.Event) []byte {
	b := Counters(e)
	if e.Evidence == nil || len(e.Evidence.Dump) == 0 {
		return b
	}
	b = append(b, "\n\nAttack traffic dump\n\n"...)
	b = append(b, Packets(e.Evidence.Dump)...)
	b = append(b, "\n\nFlow dump\n\n"...)
	return append(b, Flows(e)...)
}

// Counters is the first part of the report: the same labels in the same order,
// integers only, a blank line at the end.
func Counters(e *sdk.Event) []byte {
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
	line("IP", sdk.TargetText(e.Target), "")
	line("Attack type", e.AttackType, "")
	line("Initial attack power", Whole(e.InitialPPS), pps)
	line("Peak attack power", Whole(e.PeakPPS), pps)
	line("Attack direction", e.Direction, "")
	line("Attack protocol", e.Protocol, "")
	line("Total incoming traffic", megabits(in("total").BPS), mbps)
	line("Total outgoing traffic", megabits(out("total").BPS), mbps)
	line("Total incoming pps", Whole(in("total").PPS), pps)
	line("Total outgoing pps", Whole(out("total").PPS), pps)
	line("Total incoming flows", Whole(e.Flows[0]), fps)
	line("Total outgoing flows", Whole(e.Flows[1]), fps)
	for _, c := range counters {
		i, o := in(c.counter), out(c.counter)
		line("Incoming "+c.label+" traffic", megabits(i.BPS), mbps)
		line("Outgoing "+c.label+" traffic", megabits(o.BPS), mbps)
		line("Incoming "+c.label+" pps", Whole(i.PPS), pps)
		line("Outgoing "+c.label+" pps", Whole(o.PPS), pps)
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

// Whole cuts a rate off to an integer.
func Whole(v float64) string { return strconv.FormatUint(truncate(v), 10) }

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

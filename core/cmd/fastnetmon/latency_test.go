package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// latencyTrial is what one run of the daemon saw of a plan of attacks. Times
// are the stream's clock.
type latencyTrial struct {
	floods  []flood
	packets []floodPacket
	handed  []int64 // when each packet was given to the SDK
	exact   bool    // handed was noted, not worked out
	events  []logLine
}

// outcome is what became of one attack.
type outcome struct {
	flood
	first   int64 // the attack's first packet was handed over
	due     int64 // the packet with which the oracle sees the rule true was
	started int64 // attack.started was logged
	rule    string
}

// tooEarly is more than the oracle can be late: it compares with every packet,
// the engine with windows whose volume it spreads evenly.
const tooEarly = 50 * time.Millisecond

// judge demands that every attack was detected exactly once, after the oracle
// could, and for what it is.
func (l *latencyTrial) judge(tb testing.TB) []outcome {
	tb.Helper()
	out := make([]outcome, len(l.floods))
	oracles := make([]packetOracle, len(l.floods))
	byTarget := map[netip.Addr]*outcome{}
	for i, f := range l.floods {
		out[i].flood, oracles[i].limit = f, floodLimit
		byTarget[f.host] = &out[i]
	}
	for k, p := range l.packets {
		o := &out[p.flood]
		if p.attack && o.first == 0 {
			o.first = l.handed[k]
		}
		if o.due == 0 && oracles[p.flood].packet(l.handed[k]) {
			o.due = l.handed[k]
		}
	}
	ids := map[string]netip.Addr{}
	ended := map[string]bool{}
	for _, e := range l.events {
		o := byTarget[e.Target.Addr()]
		if o == nil || !e.Target.IsSingleIP() {
			tb.Errorf("%s: %v was not attacked", e.Message, e.Target)
			continue
		}
		if e.Message == "attack started" {
			o.begin(tb, e)
			if host, used := ids[e.ID]; used {
				tb.Errorf("attacks on %v and %v have one id %s", host, e.Target, e.ID)
			}
			ids[e.ID] = o.host
			continue
		}
		if ids[e.ID] != o.host || ended[e.ID] {
			tb.Errorf("%v: %q of attack %s, which has not started or has ended", e.Target, e.Message, e.ID)
		}
		ended[e.ID] = e.Message == "attack ended"
	}
	for i := range out {
		o := &out[i]
		switch {
		case o.due == 0:
			tb.Errorf("%v: the oracle itself does not see %g × the limit", o.host, o.multiple)
		case o.started == 0:
			tb.Errorf("%v: %g × the limit was never detected", o.host, o.multiple)
		case l.exact && o.started < o.due-int64(tooEarly):
			tb.Errorf("%v: %g × the limit was detected %v before it was true, by %s", o.host, o.multiple, time.Duration(o.due-o.started), o.rule)
		}
	}
	return out
}

// begin notes an attack's start, and holds it against what was sent.
func (o *outcome) begin(tb testing.TB, e logLine) {
	tb.Helper()
	direction := "incoming"
	if o.outgoing {
		direction = "outgoing"
	}
	if o.started != 0 {
		tb.Errorf("%v was detected twice", o.host)
	}
	o.started, o.rule = e.at, e.Rule
	if e.Direction != direction || e.HostGroup != "default" || e.Threshold != "flood" || e.Counter != "total" ||
		e.Unit != "pps" || e.Limit != floodLimit || e.Value < floodLimit || e.Rule == "" {
		tb.Errorf("%v, attacked %s with %g × the limit: started as %+v", o.host, direction, o.multiple, e)
	}
}

// quantile returns the q-quantile by the nearest rank.
func quantile(d []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// latencyFigures are the durations that a trial measured; of packets whose
// times were worked out only how long attacks went unseen.
type latencyFigures struct {
	delay  []time.Duration // from the oracle's packet to attack.started
	behind []time.Duration // of it, after the flush that carried the packet was due
	detect map[floodClass][]time.Duration
	late   []time.Duration // packets, behind their schedule
}

func (l *latencyTrial) figures(out []outcome) *latencyFigures {
	f := &latencyFigures{detect: map[floodClass][]time.Duration{}}
	const flush = int64(50 * time.Millisecond)
	for _, o := range out {
		f.detect[o.floodClass] = append(f.detect[o.floodClass], time.Duration(o.started-o.first))
		if l.exact {
			f.delay = append(f.delay, time.Duration(o.started-o.due))
			f.behind = append(f.behind, time.Duration(o.started-(o.due/flush+1)*flush))
		}
	}
	if !l.exact {
		return f
	}
	least := l.handed[0] - l.packets[0].offset
	for k, p := range l.packets {
		least = min(least, l.handed[k]-p.offset)
	}
	for k, p := range l.packets {
		f.late = append(f.late, time.Duration(l.handed[k]-p.offset-least))
	}
	return f
}

func (f *latencyFigures) String() string {
	var b strings.Builder
	line := func(what string, d []time.Duration) {
		if len(d) == 0 {
			return
		}
		fmt.Fprintf(&b, "%-34s", what)
		for _, q := range []struct {
			name string
			q    float64
		}{{"min", 0}, {"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
			fmt.Fprintf(&b, " %s %-8v", q.name, quantile(d, q.q).Round(time.Millisecond/10))
		}
		b.WriteString("\n")
	}
	line(fmt.Sprintf("pipeline delay of %d attacks:", len(f.delay)), f.delay)
	line("  of it behind the flush's time:", f.behind)
	for _, c := range floodClasses {
		bar := ""
		if c.bar > 0 {
			bar = fmt.Sprintf(", bar %v", c.bar)
		}
		line(fmt.Sprintf("%v%s:", c, bar), f.detect[c])
	}
	line("packets handed over late by:", f.late)
	return strings.TrimSuffix(b.String(), "\n")
}

// playSchedule runs the daemon on a plan of attacks, which the measuring
// capture gives.
func playSchedule(tb testing.TB, floods []flood, seed uint64) *latencyTrial {
	tb.Helper()
	dir := shortDir(tb)
	l := &latencyTrial{floods: floods, packets: floodPackets(tb, floods, floodScenario(floods, seed)), exact: true}
	schedule, played := filepath.Join(dir, "schedule"), filepath.Join(dir, "played")
	if err := writeSchedule(schedule, floods, l.packets); err != nil {
		tb.Fatal(err)
	}
	w := watch(tb, latencyConfig(tb, dir, "latency", fmt.Sprintf("schedule = %q\nplayed = %q\nprocess {\npath = %q\n}",
		schedule, played, buildLatencyCapture(tb, dir))))
	var err error
	w.await(tb, l.length()+latencyCeiling, "all packets were played", func() bool {
		l.handed, err = readPlayed(played, len(l.packets))
		return !os.IsNotExist(err)
	})
	if err != nil {
		tb.Fatal(err)
	}
	l.finish(tb, w)
	return l
}

// playCapture runs the daemon on a plan of attacks, written as a capture file.
func playCapture(tb testing.TB, floods []flood, seed uint64) *latencyTrial {
	tb.Helper()
	dir := shortDir(tb)
	scenario := floodScenario(floods, seed)
	l := &latencyTrial{floods: floods, packets: floodPackets(tb, floods, scenario)}
	path := filepath.Join(dir, "floods.pcap")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := gen.WritePcap(f, scenario); err != nil {
		tb.Fatal(err)
	}
	w := watch(tb, latencyConfig(tb, dir, "pcap", fmt.Sprintf("files = [%q]", path)))
	var finished []logLine
	w.await(tb, l.length()+latencyCeiling, "the capture was played", func() bool {
		finished = w.log("the captures are finished")
		return len(finished) > 0
	})
	// At recorded speed the last packet's time tells everyone's.
	for _, p := range l.packets {
		l.handed = append(l.handed, finished[0].at-int64(l.length())+p.offset)
	}
	l.finish(tb, w)
	return l
}

const (
	// latencyCeiling is how long a machine may stall before a run is given up.
	latencyCeiling = 20 * time.Second
	// latencyStall is how long one attack may go unseen after its end.
	latencyStall = 5 * time.Second
)

func (l *latencyTrial) length() time.Duration {
	return time.Duration(l.packets[len(l.packets)-1].offset)
}

// finish waits for the last attacks to be seen, as long as a stall may last,
// then stops the daemon.
func (l *latencyTrial) finish(tb testing.TB, w *watched) {
	tb.Helper()
	begun := time.Now()
	w.await(tb, latencyCeiling, "every attack was waited for", func() bool {
		return len(w.log("attack started")) >= len(l.floods) || time.Since(begun) > latencyStall
	})
	w.stop(tb)
	l.events = w.log("attack started", "attack goes on", "attack ended")
}

// shortDir is a folder for sockets, whose paths must be short.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "fnm-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestLiveDetectionTimes runs the daemon on forty attacks, from a capture file
// at recorded speed and from a capture that notes the times itself. Each
// attack must be detected once and for what it is; times are shown, and only a
// stall fails: the bars are for BenchmarkPipelineDelay on a quiet machine.
func TestLiveDetectionTimes(t *testing.T) {
	for name, play := range map[string]func(testing.TB, []flood, uint64) *latencyTrial{"file": playCapture, "schedule": playSchedule} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := play(t, planFloods(40, 0, 4*time.Second, 11), 12)
			out := l.judge(t)
			if t.Failed() {
				return
			}
			t.Logf("\n%v", l.figures(out))
			for _, o := range out {
				if unseen := time.Duration(o.started - o.first); unseen > o.lasts+latencyStall {
					t.Errorf("%v: %g × the limit went unseen for %v", o.host, o.multiple, unseen)
				}
			}
		})
	}
}

// BenchmarkPipelineDelay measures the time from the packet with which an exact
// oracle sees a rule true to attack.started, through capture process, ring,
// engine and detector, and how long attacks go unseen: 200 of each class and
// 200 of any strength.
func BenchmarkPipelineDelay(b *testing.B) {
	const each = 200
	var f *latencyFigures
	for b.Loop() {
		l := playSchedule(b, planFloods(each*len(floodClasses), each, 90*time.Second, 21), 22)
		out := l.judge(b)
		if b.Failed() {
			return
		}
		f = l.figures(out)
	}
	b.Log("\n" + f.String())
	report := func(d []time.Duration, q float64, unit string) {
		b.ReportMetric(float64(quantile(d, q))/float64(time.Millisecond), unit)
	}
	report(f.delay, 0.5, "delay-p50-ms")
	report(f.delay, 0.99, "delay-p99-ms")
	report(f.delay, 1, "delay-max-ms")
	for _, c := range floodClasses {
		report(f.detect[c], 0.99, fmt.Sprintf("%gx-on-%gx-p99-ms", c.multiple, c.background))
	}
	if path := os.Getenv("FASTNETMON_REPORT"); path != "" {
		if err := corpus.Quote(path, "detection times", f.table()); err != nil {
			b.Fatal(err)
		}
	}
}

// table is the figures as the report has them.
func (f *latencyFigures) table() string {
	var t strings.Builder
	ms := func(d []time.Duration, q float64) string { return fmt.Sprintf("%d ms", quantile(d, q).Milliseconds()) }
	fmt.Fprintf(&t, "| first packet to `attack.started` | attacks | p50 | p99 | largest | bar for p99 |\n|---|---|---|---|---|---|\n")
	for _, c := range floodClasses {
		d, bar := f.detect[c], "none"
		if c.bar > 0 {
			bar = fmt.Sprintf("%d ms", c.bar.Milliseconds())
		}
		fmt.Fprintf(&t, "| %v | %d | %s | %s | %s | %s |\n", c, len(d), ms(d, 0.5), ms(d, 0.99), ms(d, 1), bar)
	}
	fmt.Fprintf(&t, "| pipeline delay alone | %d | %s | %s | %s | 100 ms |\n", len(f.delay), ms(f.delay, 0.5), ms(f.delay, 0.99), ms(f.delay, 1))
	return t.String()
}

package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// A capture that works and to which nothing comes any more is told of: by the
// log, by its state, by doctor and by a figure. (That of one which hands on
// nothing is among the hostile ones.)
func TestQuietCapture(t *testing.T) {
	s := newStubs(t, true)
	log := &hostileLog{}
	s.sys.log = hclog.New(&hclog.LoggerOptions{Output: log, JSONFormat: true})
	s.run()
	c := s.capture("a", false, "PACKETS", "1000", "STAY", "1")
	c.about = &host.Description{}
	d := &Daemon{sys: s.sys, set: newSet()}
	d.set.captures[blockName(c.block)] = c
	c.inst.Start()
	s.await("all is received", func() bool {
		rows, _ := s.counted()
		return len(rows) == 1 && rows[0].Received == 1000
	})
	// look looks as the daemon does each second, after a flush at least.
	look := func(n int, records int) {
		for range n {
			time.Sleep(110 * time.Millisecond)
			s.sys.loop.do(func() {
				if records >= 0 {
					c.silence.records = records
				}
				d.watchInputs()
			})
		}
	}
	look(3, -1)
	var quiet time.Duration
	said := func() (state plugin.Status, checks string, quietMetric float64) {
		x := &examination{}
		s.sys.loop.do(func() {
			state, quiet = d.statesOf(blockName(c.block))[0].Status, c.quietFor()
			x.traffic(&tapped{capture: c, proc: c.process.Load(), quiet: quiet, fed: c.hadRecords()})
			for _, m := range d.ringMetrics() {
				if m.Name == "input_quiet_seconds:input=stub.a" {
					quietMetric = m.Value
				}
			}
		})
		for _, check := range x.checks {
			checks += check.Name + " " + check.State + ": " + check.Detail
		}
		return state, checks, quietMetric
	}
	if state, checks, metric := said(); state.State != plugin.Running || state.Message != "" || checks != "" || metric > 3 {
		t.Errorf("after three looks: %+v, %q, %v", state, checks, metric)
	}
	look(1, 10)
	if _, checks, metric := said(); metric != 11 || checks != "traffic "+exporter.StateWarn+": it has received nothing for 11s, and had before: does what feeds it still send?" {
		t.Errorf("after eleven: %q, %v", checks, metric)
	}
	look(1, 59)
	look(1, -1)
	if state, _, _ := said(); state.State != plugin.Running || state.Message != "nothing received for 1m1s" {
		t.Errorf("after a minute: %+v", state)
	}
	if n := strings.Count(log.tail(), "a capture receives nothing any more"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	// Traffic again.
	s.sys.loop.do(func() {
		for _, in := range s.sys.loop.inputs {
			in.brought.received--
		}
	})
	look(1, -1)
	if state, checks, metric := said(); state.Message != "" || checks != "" || metric != 0 || !strings.Contains(log.tail(), "a capture receives traffic again") {
		t.Errorf("with traffic: %+v, %q, %v", state, checks, metric)
	}
}

// What has not been fed since it started is told of later, since devices need
// their time.
func TestNeverFed(t *testing.T) {
	for quiet, want := range map[time.Duration]int{29 * time.Second: 0, 30 * time.Second: 1} {
		x := &examination{}
		c := tapped{capture: &capture{prepared: stub("capture", "a", config.Process{})}, proc: &plugin.Process{}, quiet: quiet}
		if x.traffic(&c); len(x.checks) != want {
			t.Errorf("after %v: %v", quiet, x.checks)
		}
	}
}

// A plugin that has failed and runs again is spoken of for a while; one that
// does not run is at fault, whatever its kind.
func TestDoctorTellsFailures(t *testing.T) {
	failed := plugin.Failures{Count: 2, Last: "it ended with exit code 3", At: time.Now().Add(-time.Minute)}
	old := failed
	old.At = time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name   string
		kind   string
		status plugin.Status
		want   string
	}{
		{"well", "capture", plugin.Status{State: plugin.Running}, ""},
		{"failed lately", "capture", plugin.Status{State: plugin.Running, Failures: failed}, "warn: the capture runs again; it has failed 2 times, the last time 1m0s ago: it ended with exit code 3"},
		{"failed long ago", "action", plugin.Status{State: plugin.Running, Failures: old}, ""},
		{"launching", "action", plugin.Status{State: plugin.Launching, Failures: failed}, "fault: the action is launching: it has failed 2 times, the last time 1m0s ago: it ended with exit code 3"},
		{"waiting", "export", plugin.Status{State: plugin.BackingOff, Message: "why", Failures: failed}, "fault: the export is backing-off: why"},
		{"a capture launching", "capture", plugin.Status{State: plugin.Launching, Failures: failed}, ""}, // running tells of it
	} {
		x := &examination{}
		x.restarts([]PluginState{{Block: stub(c.kind, "a", config.Process{}).block, Status: c.status}})
		got := ""
		for _, check := range x.checks {
			got += check.State + ": " + check.Detail
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

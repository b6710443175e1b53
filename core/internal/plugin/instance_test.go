package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// story collects what an instance's hooks are told.
type story struct {
	mu     sync.Mutex
	states []string
	gone   []error
	pids   []int
	words  int
}

func (s *story) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.states, " ")
}

func (s *story) hooks() Hooks {
	add := func(what string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.states = append(s.states, what)
	}
	return Hooks{
		Configure: func(context.Context, *Process) error { add("(configure)"); return nil },
		Attach:    func(context.Context, *Process) error { add("(attach)"); return nil },
		Running: func(p *Process) {
			add("(running)")
			s.mu.Lock()
			s.pids = append(s.pids, p.PID())
			s.mu.Unlock()
		},
		Health: func(*Process, host.Health) { s.mu.Lock(); s.words++; s.mu.Unlock() },
		Gone: func(_ *Process, err error) {
			add("(gone)")
			s.mu.Lock()
			s.gone = append(s.gone, err)
			s.mu.Unlock()
		},
		State: func(st Status) { add(string(st.State)) },
	}
}

func (s *story) launched() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pids)
}

func (s *story) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gone) == 0 {
		return nil
	}
	return s.gone[0]
}

func startInstance(t *testing.T, behaviour string, edit func(*Config)) (*Instance, *story, *logBuffer) {
	t.Helper()
	noTrace(t)
	spec, log := stubSpec(t, behaviour)
	spec.DrainTimeout = patience / 6
	s := &story{}
	config := Config{Spec: spec, Hooks: s.hooks(), MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, WatchInterval: patience}
	if edit != nil {
		edit(&config)
	}
	i := NewInstance(config)
	i.Start()
	t.Cleanup(func() {
		i.Stop(context.Background())
		for _, pid := range s.launched() {
			eventually(t, "nothing of the group is left", func() bool { return groupGone(pid) })
		}
	})
	return i, s, log
}

func waitState(t *testing.T, i *Instance, want State) {
	t.Helper()
	eventually(t, fmt.Sprintf("the instance is %s", want), func() bool { return i.Status().State == want })
}

func TestInstanceLife(t *testing.T) {
	i, s, log := startInstance(t, "good", nil)
	waitState(t, i, Running)
	if st := i.Status(); st.PID == 0 || st.Launches != 1 {
		t.Errorf("status %+v", st)
	}
	eventually(t, "health is heard", func() bool { return i.Status().Health.State == host.Running })
	i.Stop(context.Background())
	want := "launching configuring (configure) (attach) starting running (running) draining (gone) stopped"
	if got := s.text(); got != want {
		t.Errorf("story\n%s, want\n%s", got, want)
	}
	if s.reason() != nil || i.Status().PID != 0 {
		t.Errorf("gone because of %v, %+v", s.reason(), i.Status())
	}
	if log.count("[ERROR]")+log.count("[WARN]") > 0 || log.count("plugin is running") != 1 || log.count("plugin is stopped") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// Each relaunch is a launch of its own, with configuration and rings anew.
func TestInstanceRelaunches(t *testing.T) {
	i, s, log := startInstance(t, "good", nil)
	for n := 1; n <= 3; n++ {
		eventually(t, "it runs again", func() bool { return len(s.launched()) == n && i.Status().State == Running })
		if t.Failed() {
			t.Fatal(s.text())
		}
		_ = syscall.Kill(s.launched()[n-1], syscall.SIGKILL)
	}
	eventually(t, "it runs a fourth time", func() bool { return len(s.launched()) == 4 && i.Status().State == Running })
	i.Stop(context.Background())
	if n := strings.Count(s.text(), "(configure) (attach) starting running (running)"); n != 4 {
		t.Errorf("story: %s", s.text())
	}
	if err := s.reason(); err == nil || !strings.Contains(err.Error(), "signal killed") {
		t.Errorf("gone because of %v", err)
	}
	if log.count("plugin ended unexpectedly") != 3 {
		t.Errorf("log:\n%s", log)
	}
}

func TestInstanceReplacesSick(t *testing.T) {
	for behaviour, reason := range map[string]string{
		"freezes": "no word of health", "unwatched": "no word of health", "fails": "its work failed: word 1", "crashes": "boom",
	} {
		t.Run(behaviour, func(t *testing.T) {
			i, s, _ := startInstance(t, behaviour, func(c *Config) {
				if reason == "no word of health" {
					c.WatchInterval = 100 * time.Millisecond
				}
			})
			eventually(t, "it was replaced", func() bool { return len(s.launched()) >= 2 })
			i.Stop(context.Background())
			if err := s.reason(); err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("gone because of %v", err)
			}
			silent := strings.Contains(reason, "no word")
			if silent != strings.Contains(s.text(), "running (running) unhealthy (gone) backing-off") {
				t.Errorf("story: %s", s.text())
			}
		})
	}
}

// A core that stood still for a while must not take its own silence for the
// plugin's.
func TestCorePaused(t *testing.T) {
	cmd := exec.Command(os.Args[0], "watching", stubProgram(t, "good"), runtimeDir(t))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "running" {
		t.Fatalf("the core said %q", lines.Text())
	}
	for range 4 {
		for _, step := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := cmd.Process.Signal(step); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pausedInterval * (missed + 1))
		}
	}
	in.Close()
	lines.Scan()
	if lines.Text() != "1" {
		t.Errorf("%s processes were launched while the core was paused now and then, want 1", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A complaint that changes with each word, and a plugin that is well and unwell
// by turns, have a line a minute, not one a word; what is said last comes out.
func TestHealthLogIsRationed(t *testing.T) {
	log, text := newLog()
	i := NewInstance(Config{Spec: Spec{Logger: log}})
	i.set(Running, "")
	for n := range 100 {
		i.set(Unhealthy, fmt.Sprintf("%d packets lost", n))
		if n%3 == 0 {
			i.set(Running, "")
		}
	}
	if text.count("plugin is unhealthy") != 1 || text.count("plugin is running") != 2 {
		t.Fatalf("log:\n%s", text)
	}
	i.set(Unhealthy, "no disk")
	for state := range i.told { // a minute later
		i.told[state] = time.Time{}
	}
	i.set(Unhealthy, "no disk")
	i.set(Unhealthy, "no disk")
	if text.count("no disk") != 1 || text.count("changes_not_logged=") != 1 {
		t.Errorf("log:\n%s", text)
	}
}

func TestInstanceUnhealthyIsNotReplaced(t *testing.T) {
	i, s, _ := startInstance(t, "moody", nil)
	eventually(t, "it is well again", func() bool { return strings.Contains(s.text(), "unhealthy running") })
	i.Stop(context.Background())
	if len(s.launched()) != 1 || !strings.Contains(s.text(), "running (running) unhealthy") {
		t.Errorf("story: %s", s.text())
	}
}

func TestInstanceFinishes(t *testing.T) {
	i, s, _ := startInstance(t, "finishes", nil)
	<-i.Done()
	if i.Status().State != Finished || len(s.launched()) != 1 || s.reason() != nil {
		t.Errorf("%+v, story: %s", i.Status(), s.text())
	}
}

func TestInstanceRefused(t *testing.T) {
	i, s, log := startInstance(t, "good", func(c *Config) {
		c.Hooks.Configure = func(context.Context, *Process) error { return Refused(errors.New("port is not a number")) }
	})
	<-i.Done()
	if st := i.Status(); st.State != Failed || st.Message != "port is not a number" || st.Launches != 1 {
		t.Errorf("%+v, story: %s", st, s.text())
	}
	if log.count("port is not a number") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// A hook's failure other than a refusal, and a program that does not start,
// are tried again.
func TestInstanceTriesAgain(t *testing.T) {
	tries := 0
	i, s, _ := startInstance(t, "good", func(c *Config) {
		c.Hooks.Attach = func(context.Context, *Process) error {
			if tries++; tries < 3 {
				return errors.New("no memory for rings")
			}
			return nil
		}
	})
	waitState(t, i, Running)
	if err := s.reason(); err == nil || !strings.Contains(err.Error(), "attaching: no memory for rings") {
		t.Errorf("gone because of %v", err)
	}
	j, _, _ := startInstance(t, "exits", nil)
	eventually(t, "it backs off", func() bool {
		st := j.Status()
		return st.State == BackingOff && strings.Contains(st.Message, "cannot read /etc/stub.conf") && !st.Retry.IsZero()
	})
}

// Stop interrupts whatever the instance is at.
func TestInstanceStopAnytime(t *testing.T) {
	long := func(c *Config) { c.MinBackoff, c.MaxBackoff = time.Hour, time.Hour }
	i, _, _ := startInstance(t, "exits", long)
	waitState(t, i, BackingOff)
	within(t, "stopping while backing off", func() { i.Stop(context.Background()) })

	i, _, _ = startInstance(t, "mute", long)
	waitState(t, i, Launching)
	within(t, "stopping while launching", func() { i.Stop(context.Background()) })

	i, _, _ = startInstance(t, "good", func(c *Config) {
		c.Hooks.Configure = func(ctx context.Context, _ *Process) error { <-ctx.Done(); return ctx.Err() }
	})
	waitState(t, i, Configuring)
	within(t, "stopping while configuring", func() { i.Stop(context.Background()) })
	if st := i.Status().State; st != Stopped {
		t.Errorf("state %s", st)
	}

	idle := NewInstance(Config{})
	idle.Stop(context.Background())
	idle.Start()
	if st := idle.Status().State; st != Stopped || !st.Final() {
		t.Errorf("state %s", st)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{least: 500 * time.Millisecond, most: time.Minute}
	want := []float64{0.5, 1, 2, 4, 8, 16, 32, 60, 60}
	for n, seconds := range want {
		middle := time.Duration(seconds * float64(time.Second))
		if d := b.delay(); d < middle*8/10 || d > middle*12/10 {
			t.Errorf("delay %d is %s, want about %s", n, d, middle)
		}
	}
	b.reset()
	if d := b.delay(); d > 600*time.Millisecond {
		t.Errorf("after reset %s", d)
	}
}

func TestBackoffResetByHealth(t *testing.T) {
	delays := make(chan time.Duration, 16)
	i, s, _ := startInstance(t, "good", func(c *Config) {
		c.MinBackoff, c.MaxBackoff, c.HealthyAfter = 10*time.Millisecond, time.Hour, time.Nanosecond
		c.Hooks.State = func(st Status) {
			if st.State == BackingOff {
				delays <- st.Retry.Sub(st.Since)
			}
		}
	})
	for n := 1; n <= 3; n++ {
		eventually(t, "it runs", func() bool { return len(s.launched()) == n && i.Status().State == Running })
		_ = syscall.Kill(s.launched()[n-1], syscall.SIGKILL)
		if d := <-delays; d > 12*time.Millisecond {
			t.Errorf("the back-off has grown to %s", d)
		}
	}
}

// What ended the process before is not forgotten while the next one is
// launched, or runs.
func TestFailuresAreKept(t *testing.T) {
	i, _, _ := startInstance(t, "exits", func(c *Config) { c.MinBackoff, c.MaxBackoff = time.Millisecond, time.Millisecond })
	eventually(t, "it is launched for the third time", func() bool {
		s := i.Status()
		return s.State == Launching && s.Failures.Count >= 2
	})
	if f := i.Status().Failures; !strings.Contains(f.Last, "exit code 3") || time.Since(f.At) > patience {
		t.Errorf("failures %+v", f)
	}
	i, s, _ := startInstance(t, "good", nil)
	waitState(t, i, Running)
	if err := syscall.Kill(s.launched()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs again", func() bool { return i.Status().State == Running && i.Status().Launches == 2 })
	if f := i.Status().Failures; f.Count != 1 || !strings.Contains(f.Last, "signal") || f.At.IsZero() {
		t.Errorf("failures %+v", f)
	}
}

// A process that says that it is well is unhealthy while we know better.
func TestFault(t *testing.T) {
	i, _, _ := startInstance(t, "good", func(c *Config) { c.WatchInterval = 50 * time.Millisecond })
	waitState(t, i, Running)
	i.Fault("it hands on nothing")
	waitState(t, i, Unhealthy)
	if s := i.Status(); s.Message != "it hands on nothing" {
		t.Errorf("status %+v", s)
	}
	i.Fault("")
	waitState(t, i, Running)
}

package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// buildHostile builds the programs of testdata and returns where they are.
func buildHostile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./testdata/honest", "./testdata/hostile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// hostileBed is a daemon with an honest capture and an honest action, beside
// which plugins misbehave.
type hostileBed struct {
	t       *testing.T
	rows    []hostileRow
	built   string // where the programs are
	dir     string
	runtime string
	mark    string   // in the environment of every process of the bed
	honest  []string // networks of honest captures
	daemon  *Daemon
	log     hostileLog
	running chan struct{}
	stop    context.CancelFunc
	ended   chan error // of the daemon

	mu      sync.Mutex
	started map[netip.Addr]int
	delays  []time.Duration // from the end of the window that decided to the event
}

// What the honest captures do: waves of floods of 20 times the limit.
const (
	hostileTargets = 10
	hostileWave    = 400 * time.Millisecond
	hostileRate    = 20000
)

// hostileWaves is how many waves there are, more under make soak.
var hostileWaves = map[bool]int{false: 6, true: 20}[os.Getenv("FASTNETMON_SOAK") != ""]

func newHostileBed(t *testing.T, built string, rows []hostileRow) *hostileBed {
	t.Helper()
	b := &hostileBed{
		t: t, rows: rows, built: built, dir: t.TempDir(), started: map[netip.Addr]int{}, running: make(chan struct{}),
		mark: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()),
	}
	path := filepath.Join(b.dir, "hostile.hcl")
	if err := os.WriteFile(path, []byte(b.config()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, diags := config.Load(path)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	b.daemon = New(Options{
		Config:  cfg,
		Log:     hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &b.log, JSONFormat: true}),
		OnEvent: b.event, OnRunning: func() { close(b.running) },
	})
	return b
}

func (b *hostileBed) event(e sdk.Event) {
	if e.Type != sdk.AttackStarted {
		return
	}
	late := time.Since(e.Time)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started[e.Target.Addr()]++
	if b.isHonest(e.Target.Addr()) {
		b.delays = append(b.delays, late)
	}
}

func (b *hostileBed) isHonest(target netip.Addr) bool {
	return slices.ContainsFunc(b.honest, func(network string) bool {
		return netip.PrefixFrom(netip.MustParseAddr(network), 16).Contains(target)
	})
}

// program links a program of testdata under a plugin's name.
func (b *hostileBed) program(of, name string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.Symlink(filepath.Join(b.built, of), path); err != nil && !os.IsExist(err) {
		b.t.Fatal(err)
	}
	return path
}

func (b *hostileBed) config() string {
	var err error
	b.runtime, err = os.MkdirTemp("", "fnm") // short, as the path of a socket must be
	if err != nil {
		b.t.Fatal(err)
	}
	c := &strings.Builder{}
	fmt.Fprintf(c, `
daemon {
  runtime_dir = %q
  state_dir   = %q
}
network "ours" {
  prefixes = ["10.0.0.0/8"]
}
summary {
  attacks = 0
}
hostgroup "default" {
  networks = [network.ours]
  average  = "1s"
  threshold "flood" {
    direction = "incoming"
    pps       = 1000
  }
}
`, b.runtime, filepath.Join(b.runtime, "state"))
	b.capture(c, "good")
	fmt.Fprintf(c, "action \"honest\" \"diary\" {\n  file = %q\n%s}\n", b.diary(), b.process("honest", "action-honest", ""))
	of := map[string][]string{"capture": {"capture.honest.good"}, "action": {"action.honest.diary"}}
	for i, row := range b.rows {
		of[row.kind] = append(of[row.kind], fmt.Sprintf("%s.%s.%s", row.kind, row.mode, row.instance()))
		fmt.Fprintf(c, "%s %q %q {\n%s%s}\n", row.kind, row.mode, row.instance(), row.body, b.process(row.program(), row.kind+"-"+row.mode, row.process))
		if row.kind == "filter" { // a pipeline of its own, with an honest capture before it
			name := fmt.Sprintf("before%d", i)
			b.capture(c, name)
			fmt.Fprintf(c, "pipeline %q {\n  captures = [capture.honest.%s]\n  filters = [filter.%s.%s]\n}\n", name, name, row.mode, row.instance())
		}
	}
	fmt.Fprintf(c, "pipeline \"main\" {\n  captures = [%s]\n  actions = [%s]\n  exports = [%s]\n}\n",
		strings.Join(of["capture"], ", "), strings.Join(of["action"], ", "), strings.Join(of["export"], ", "))
	return c.String()
}

func (b *hostileBed) capture(c *strings.Builder, name string) {
	network := fmt.Sprintf("10.%d.0.0", len(b.honest)+1)
	b.honest = append(b.honest, network)
	fmt.Fprintf(c, "capture \"honest\" %q {\n  network = %q\n  waves = %d\n  targets = %d\n  wave_time = %q\n  rate = %d\n%s}\n",
		name, network, hostileWaves, hostileTargets, hostileWave, hostileRate, b.process("honest", "capture-honest", ""))
}

func (b *hostileBed) process(program, name, more string) string {
	limits := "    backoff = \"200ms\"\n    max_backoff = \"2s\"\n"
	return fmt.Sprintf("  process {\n    path = %q\n    env = { HOSTILE_MARK = %q }\n%s%s  }\n", b.program(program, name), b.mark, limits, more)
}

func (b *hostileBed) diary() string { return filepath.Join(b.dir, "diary") }

// run has everybody do their worst, and checks what is to hold meanwhile and
// afterwards.
func (b *hostileBed) run() {
	t := b.t
	heap := heapInUse()
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	defer b.stop()
	b.ended = make(chan error, 1)
	go func() {
		diags, err := b.daemon.Run(ctx)
		if diags.HasErrors() {
			err = diags
		}
		b.ended <- err
	}()
	select {
	case <-b.running:
	case err := <-b.ended:
		b.ended <- err
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("the daemon does not come up")
	}
	peak := uint64(0)
	b.await("the honest captures finished", func() bool {
		peak = max(peak, heapNow())
		return b.honestDone()
	})
	for _, row := range b.rows {
		b.await(row.instance()+": "+row.says+" "+row.logs, func() bool { return row.shown(b) })
	}
	b.checkHonest()
	for _, row := range b.rows {
		row.check(b)
	}
	const allowed = 64 << 20
	if grown := heapInUse(); grown > heap+allowed || peak > heap+4*allowed {
		t.Errorf("the heap grew from %d to %d KiB, with a peak of %d", heap>>10, grown>>10, peak>>10)
	}
	t.Logf("%d attacks; from the end of the deciding window to the event: p50 %v, p99 %v, worst %v", len(b.delays),
		b.quantile(0.5), b.quantile(0.99), b.quantile(1))
}

func (b *hostileBed) quantile(q float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.delays) == 0 {
		return 0
	}
	slices.Sort(b.delays)
	return b.delays[int(q*float64(len(b.delays)-1))].Round(100 * time.Microsecond)
}

func (b *hostileBed) await(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("it did not come to this: %s\nstates: %s\nlog:\n%s", what, b.states(), b.log.tail())
		}
	}
}

func (b *hostileBed) plugins() []PluginState {
	all, err := b.daemon.Plugins()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *hostileBed) states() string {
	var out []string
	for _, p := range b.plugins() {
		out = append(out, fmt.Sprintf("%s %s: %s, %d launches, %s", p.Block.Kind, p.Block.Instance, p.Status.State, p.Status.Launches, p.Status.Message))
	}
	return strings.Join(out, "\n")
}

func (b *hostileBed) honestDone() bool {
	done := 0
	for _, p := range b.plugins() {
		if p.Block.Kind == "capture" && p.Block.Name == "honest" && p.Status.State == plugin.Finished {
			done++
		}
	}
	return done == len(b.honest)
}

// checkHonest: every attack was detected and told, every record is accounted
// for, and nobody had to be started again.
func (b *hostileBed) checkHonest() {
	attacks := hostileWaves * hostileTargets
	b.mu.Lock()
	for _, network := range b.honest {
		prefix, seen := netip.PrefixFrom(netip.MustParseAddr(network), 16), 0
		for target := range b.started {
			if prefix.Contains(target) {
				seen++
			}
		}
		if seen != attacks {
			b.t.Errorf("%d of %d attacks on %s were detected", seen, attacks, network)
		}
	}
	for _, late := range b.delays {
		if late > 2*time.Second { // far more than a busy machine explains
			b.t.Errorf("an event came %v after the window that decided", late)
		}
	}
	want := len(b.started)
	b.mu.Unlock()
	b.await("the honest action was told of every attack", func() bool {
		text, _ := os.ReadFile(b.diary()) // it may not be there yet
		return strings.Count(string(text), string(sdk.AttackStarted)) >= want
	})
	b.daemon.sys.loop.do(func() {
		for _, row := range b.daemon.ledger() {
			records := uint64(attacks) * uint64(hostileWave.Seconds()*hostileRate)
			if !strings.HasPrefix(row.Input, "honest.") {
				continue
			}
			full := uint64(0)
			if row.Input != "honest.good" { // a capture that this machine let wait sends more at once than a ring before a filter holds
				full = row.Dropped["record_ring_full"]
				delete(row.Dropped, "record_ring_full")
			}
			if row.Received != records || row.Used+full != records || len(row.Dropped) > 0 {
				b.t.Errorf("the ledger of %s: received %d, used %d, dropped %v, ring full %d; want all of %d used", row.Input, row.Received, row.Used, row.Dropped, full, records)
			}
		}
	})
	for _, p := range b.plugins() {
		if p.Block.Name == "honest" && p.Status.Launches != 1 {
			b.t.Errorf("the honest %s was launched %d times", p.Block.Kind, p.Status.Launches)
		}
	}
}

// checkEnd: the daemon came to its end, and left no process.
func (b *hostileBed) checkEnd() {
	if b.ended == nil {
		return // it was not even begun
	}
	defer os.RemoveAll(b.runtime)
	defer b.exorcise()
	select {
	case err := <-b.ended:
		if err != nil {
			b.t.Errorf("the daemon ended with %v", err)
		}
	case <-time.After(3*stopTime + 10*time.Second):
		b.t.Errorf("the daemon does not end: %s", b.log.tail())
		return
	}
	ghosts := slices.ContainsFunc(b.rows, func(r hostileRow) bool { return r.ghost })
	left := func() []string {
		return slices.DeleteFunc(marked(b.mark), func(p string) bool { return ghosts && strings.HasSuffix(p, " apart") })
	}
	for end := time.Now().Add(10 * time.Second); len(left()) > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if l := left(); len(l) > 0 {
		b.t.Errorf("processes are left: %v", l)
	}
}

// checkDescriptors: none are left open.
func checkDescriptors(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); openDescriptors(t) > before && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if n := openDescriptors(t); n > before {
		t.Errorf("%d descriptors are open, %d were", n, before)
	}
}

// exorcise ends what has left the plugins' process groups.
func (b *hostileBed) exorcise() {
	for _, p := range marked(b.mark) {
		pid, _, _ := strings.Cut(p, " ")
		if n, err := strconv.Atoi(pid); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// marked lists processes with a mark in their environment: "12 sleep", with
// " apart" behind it if it leads a session.
func marked(mark string) (out []string) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, dir := range all {
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(environment, []byte("HOSTILE_MARK="+mark)) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		field := strings.Fields(string(rest)) // state, parent, group, session
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		pid := filepath.Base(dir)
		text := pid + " " + strings.TrimSpace(string(name))
		if len(field) > 3 && field[3] == pid {
			text += " apart"
		}
		out = append(out, text)
	}
	return out
}

func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func heapInUse() uint64 {
	runtime.GC()
	return heapNow()
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

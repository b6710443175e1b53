package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const soakConfig = `
daemon {
  runtime_dir  = "%[1]s/run"
  state_dir    = "%[1]s/state"
  memory_limit = "%[2]s"
}

network "home" {
  prefixes = ["%[3]s"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
}

capture "flood" "line" {
  network = "%[3]s"
  trigger = "%[1]s/trigger"
  account = "%[1]s/account"
  %[4]s

  process {
    path = "%[1]s/capture-flood"
  }
}

export "prometheus" "metrics" {
  listen = "%[5]s"
}

pipeline "main" {
  captures = [capture.flood.line]
  exports  = [export.prometheus.metrics]
}
`

// soaked is a daemon with a capture of testdata/flood-capture.
type soaked struct {
	*live
	dir, config, listen string
	capture             int // process
}

func startSoak(t *testing.T, memory, network, settings string) *soaked {
	t.Helper()
	s := &soaked{dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", filepath.Join(s.dir, "capture-flood"), "./core/cmd/fastnetmon/testdata/flood-capture")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = free.Addr().String()
	free.Close()
	s.config = write(t, "soak.hcl", fmt.Sprintf(soakConfig, s.dir, memory, network, settings, s.listen))
	s.live = start(t, "run", "--config", s.config)
	s.waitLog(t, "running: captures")
	s.capture = capturePID(t, s.config, 0)
	return s
}

func (s *soaked) status(t *testing.T) statusJSON {
	t.Helper()
	g := guarded{config: s.config}
	return g.status(t)
}

// rss is the resident memory of core and capture, octets.
func (s *soaked) rss(t *testing.T) (sum uint64) {
	t.Helper()
	for _, pid := range []int{s.cmd.Process.Pid, s.capture} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "VmRSS:")
		kib, err := strconv.ParseUint(strings.Fields(after)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += kib << 10
	}
	return sum
}

// cpu is the processor time of a process so far.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(after)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// quantile99 reads the 99th percentile of a histogram's buckets: the bound of
// the bucket in which it lies.
func (s *soaked) quantile99(t *testing.T, name string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + s.listen + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`fastnetmon_`+name+`_bucket\{le="([^"]+)"\} (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(all) == 0 {
		t.Fatalf("no histogram %s in\n%s", name, text)
	}
	total, _ := strconv.ParseFloat(all[len(all)-1][2], 64)
	for _, bucket := range all {
		bound, err := strconv.ParseFloat(bucket[1], 64)
		if n, _ := strconv.ParseFloat(bucket[2], 64); err == nil && n >= 0.99*total {
			return bound
		}
	}
	return math.Inf(1)
}

// waitFull waits until the tables have grown to their size.
func (s *soaked) waitFull(t *testing.T) {
	t.Helper()
	last := uint64(0)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		now := s.rss(t)
		if now < last+last/50 {
			return
		}
		last = now
	}
	t.Fatal("the tables still grow after two minutes")
}

// watch samples the memory for a while.
func (s *soaked) watch(t *testing.T, wait time.Duration) []uint64 {
	t.Helper()
	every := max(wait/60, 250*time.Millisecond)
	var out []uint64
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(every) {
		out = append(out, s.rss(t))
	}
	return out
}

// flat demands that memory stays below a bound, and in a long run that it does
// not grow: the most of the second half is hardly more than that of the first.
func flat(t *testing.T, samples []uint64, bound uint64) {
	t.Helper()
	if most := slices.Max(samples); most > bound {
		t.Errorf("%d octets of memory, more than %d", most, bound)
	}
	half := len(samples) / 2
	before, after := slices.Max(samples[:half]), slices.Max(samples[half:])
	t.Logf("memory of core and capture: at most %d MiB, then %d MiB", before>>20, after>>20)
	if soak := counts(0, 1) == 1; soak && after > before+before/20+(16<<20) {
		t.Errorf("memory grew from %d to %d octets", before, after)
	}
}

// All that a capture can give, for an hour: memory stays what it is, and
// SIGTERM under that load loses nothing.
func TestFullRate(t *testing.T) {
	s := startSoak(t, "512MiB", "10.0.0.0/12", "hosts = 60000")
	s.waitFull(t)
	flat(t, s.watch(t, time.Duration(counts(4, 3600))*time.Second), 256<<20)
	balanced(t, s.config)
	s.stop(t)
	text, err := os.ReadFile(filepath.Join(s.dir, "account"))
	if err != nil {
		t.Fatal(err)
	}
	given := strings.TrimSpace(string(text))
	want := fmt.Sprintf("records of an input: input=flood.line received=%s used=%s in_flight=0\n", given, given)
	if !strings.Contains(s.stderr.String(), want) {
		t.Errorf("the capture gave %s records, and the log has no %q:\n%s", given, want, s.stderr)
	}
	t.Logf("%s records", given)
}

// Random IPv6 addresses of a /32: memory stays below its limit, the loop stays
// quick, and a flood among them is found.
func TestRandomIPv6(t *testing.T) {
	s := startSoak(t, "256MiB", "2001:db8::/32", "hidden = \"2001:db8:1:2::7\"\n  hidden_pps = 200000")
	s.waitFull(t)
	half := time.Duration(counts(3, 300)) * time.Second
	samples := s.watch(t, half)
	if err := os.WriteFile(filepath.Join(s.dir, "trigger"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.waitLog(t, "attack started")
	t.Logf("the hidden flood was found after %v", time.Since(began).Round(time.Millisecond))
	samples = append(samples, s.watch(t, half)...)
	st := s.status(t)
	tick := s.quantile99(t, "tick_seconds")
	t.Logf("%d hosts, %d MiB of tables, resident at most %d MiB, tick p99 within %g s", st.Hosts, st.Memory>>20, slices.Max(samples)>>20, tick)
	if soak := counts(0, 1) == 1; soak && tick > 0.1 {
		t.Errorf("the 99th percentile of a turn is %g s", tick)
	}
	if st.Memory > 256<<20 {
		t.Errorf("the tables take %d octets of 256 MiB", st.Memory)
	}
	if !strings.Contains(s.stderr.String(), "target=2001:db8:1:2::7/128") {
		t.Errorf("the attack is another's:\n%s", s.stderr)
	}
	flat(t, samples, 640<<20)
	balanced(t, s.config)
	s.stop(t)
}

// A million hosts under traffic: what they cost.
func TestManyHosts(t *testing.T) {
	hosts := counts(100_000, 1_000_000)
	s := startSoak(t, "2GiB", "10.0.0.0/12", fmt.Sprintf("hosts = %d\n  pps = %d", hosts, 2*hosts))
	for deadline := time.Now().Add(2 * time.Minute); s.status(t).Hosts < uint64(hosts)*99/100; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d hosts of %d after two minutes", s.status(t).Hosts, hosts)
		}
	}
	wait := time.Duration(counts(2, 60)) * time.Second
	core, capture := cpu(t, s.cmd.Process.Pid), cpu(t, s.capture)
	time.Sleep(wait)
	core, capture = cpu(t, s.cmd.Process.Pid)-core, cpu(t, s.capture)-capture
	st := s.status(t)
	t.Logf("%d hosts at %d pps: %.1f MB of tables, %.0f bytes a host; core %.2f, capture %.2f seconds of processor time a second; %.0f deltas a second",
		st.Hosts, 2*hosts, float64(st.Memory)/1e6, float64(st.Memory)/float64(st.Hosts), core.Seconds()/wait.Seconds(), capture.Seconds()/wait.Seconds(), st.Deltas)
	limit := uint64(350 * hosts)
	if hosts < 1_000_000 {
		limit += 12 << 20 // tables grow by 10 MiB
	}
	if st.Memory > limit {
		t.Errorf("%d hosts take %d octets, more than %d", st.Hosts, st.Memory, limit)
	}
	s.stop(t)
}

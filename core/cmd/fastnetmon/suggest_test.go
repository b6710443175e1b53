package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// suggestion is what "suggest --json" prints.
type suggestion struct {
	Suggestion struct {
		Seconds float64
		Source  string
		Bursts  bool
		Thin    []string
		Groups  []struct {
			Name       string `json:"hostgroup"`
			Hosts      int
			Attacked   [2]float64 `json:"attack_seconds"`
			Thresholds []suggestedThreshold
			Own        []struct {
				Name       string `json:"hostgroup"`
				Host       string
				Thresholds []suggestedThreshold
			} `json:"own_hostgroups"`
			Unseen  []string `json:"counters_unseen"`
			Rates   []suggestedRates
			Total   []suggestedRates
			Busiest []struct {
				Host  string
				Rates []suggestedRates
			}
		} `json:"hostgroups"`
		Unseen []string
	}
	Attacks []struct{ Fires, Target, Direction string }
	HCL     string
}

type suggestedThreshold struct {
	Name   string `json:"threshold"`
	Limits []struct {
		Unit            string
		Limit, Max, P50 float64
		P999            float64 `json:"p99_9"`
		Samples         uint64
		Rule            string
		Fires           int
		AtMost          float64 `json:"at_most"`
		Before          float64
		Busiest         string
	}
}

type suggestedRates struct {
	Direction, Counter, Unit string
	P50, P99, Max            float64
	P999                     float64 `json:"p99_9"`
	Samples                  uint64
}

// limit finds a limit; 0 if there is none.
func limit(list []suggestedThreshold, name, unit string) float64 {
	for _, t := range list {
		for _, l := range t.Limits {
			if t.Name == name && l.Unit == unit {
				return l.Limit
			}
		}
	}
	return 0
}

func suggest(t *testing.T, args ...string) (s suggestion) {
	t.Helper()
	out := mustRun(t, append([]string{"suggest", "--json"}, args...)...).stdout
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

// traffic writes a capture and returns its path.
func traffic(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	mustRun(t, append([]string{"traffic", "--network", "203.0.113.0/24", "--out", path}, args...)...)
	return path
}

// fired replays a capture and lists what attacks it started: target, direction.
func fired(t *testing.T, config, capture string) (out []string) {
	t.Helper()
	events := parseEvents(t, mustRun(t, "replay", "--config", config, "--json", capture).stdout)
	for _, e := range events {
		if e.Event == "attack.started" {
			out = append(out, e.Target+" "+e.Direction)
		}
	}
	return out
}

// even is traffic of known rates: 20 hosts, each with a twentieth of it.
var even = []string{"--even", "--hosts", "20", "--pps", "40000", "--duration", "12s", "--seed", "5"}

// What is suggested from traffic of a known distribution fires on nothing in
// it, fires at twice the limits, and passes check.
func TestSuggestFromCapture(t *testing.T) {
	capture := traffic(t, "even.pcap", even...)
	hcl := mustRun(t, "suggest", "--network", "203.0.113.0/24", capture).stdout
	sdktest.Golden(t, filepath.Join("testdata", "suggest.golden"), strings.ReplaceAll(hcl, capture, "even.pcap"), *update)
	if again := mustRun(t, "suggest", "--network", "203.0.113.0/24", capture).stdout; again != hcl {
		t.Error("the second suggestion differs")
	}
	config := write(t, "suggested.hcl", hcl)
	if r := run(t, "check", config); r.code != 0 || strings.Contains(r.stderr, "Error") {
		t.Errorf("check: exit %d\n%s", r.code, r.stderr)
	}
	if got := fired(t, config, capture); len(got) > 0 {
		t.Errorf("fires on what it was made from: %v", got)
	}
	s := suggest(t, "--network", "203.0.113.0/24", capture)
	g := s.Suggestion.Groups[0]
	if s.Suggestion.Seconds < 11 || s.Suggestion.Seconds > 13 || !s.Suggestion.Bursts || len(s.Suggestion.Thin) == 0 || g.Hosts != 20 || len(s.Attacks) != 0 {
		t.Errorf("%+v", s.Suggestion)
	}
	if len(g.Busiest) != 10 || len(g.Busiest[0].Rates) < 10 || len(g.Rates) < 20 || len(g.Total) < 20 {
		t.Errorf("%d busiest hosts, %d and %d rates", len(g.Busiest), len(g.Rates), len(g.Total))
	}
	for _, r := range append(g.Rates, g.Total...) {
		if r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max || r.Samples == 0 || r.Max == 0 {
			t.Errorf("%+v", r)
		}
	}
	// A host has 2,000 packets a second in both directions together.
	in, out := limit(g.Thresholds, "total_incoming", "pps"), limit(g.Thresholds, "total_outgoing", "pps")
	if both := in + out; both < 3200 || both > 5500 {
		t.Errorf("limits of %v and %v for hosts with 2,000 packets a second", in, out)
	}
	if all := limit(g.Thresholds, "total_incoming_hostgroup", "pps"); all < 10*in || all > 25*in {
		t.Errorf("hostgroup: %v for 20 hosts with %v", all, in)
	}
	for threshold, kind := range map[string]string{"total_incoming": "udp_flood", "tcp_syn_incoming": "syn_flood", "icmp_incoming": "icmp_flood"} {
		limit := limit(g.Thresholds, threshold, "pps")
		if limit == 0 {
			t.Errorf("no limit %s", threshold)
			continue
		}
		attacked := traffic(t, kind+".pcap", append(even, "--attack", fmt.Sprintf("%s,target=203.0.113.7,pps=%.0f,start=4s", kind, 2*limit))...)
		if got := fired(t, config, attacked); len(got) == 0 || got[0] != "203.0.113.7 incoming" {
			t.Errorf("%s of 2 × %v: %v", kind, limit, got)
		}
	}
}

// One host far above the others has a hostgroup of its own, the others limits
// that protect them.
func TestSuggestsAGroupForOneHost(t *testing.T) {
	capture := traffic(t, "apart.pcap", append(even, "--attack", "udp_flood,target=203.0.113.9,pps=40000,start=0s")...)
	s := suggest(t, "--network", "203.0.113.0/24", capture)
	g := s.Suggestion.Groups[0]
	if len(g.Own) != 1 || g.Own[0].Host != "203.0.113.9/32" {
		t.Fatalf("%+v", g.Own)
	}
	own, others := limit(g.Own[0].Thresholds, "total_incoming", "pps"), limit(g.Thresholds, "total_incoming", "pps")
	if own < 60000 || others > 6000 || others < 1000 {
		t.Errorf("limits %v for 203.0.113.9, %v for the others", own, others)
	}
	config := write(t, "suggested.hcl", mustRun(t, "suggest", "--network", "203.0.113.0/24", capture).stdout)
	if got := fired(t, config, capture); len(got) > 0 {
		t.Errorf("fires on what it was made from: %v", got)
	}
}

// Half a second at 20 times the mean crosses a burst rule, which no average
// shows: the limit is raised, and says so.
func TestSuggestTriesBurstRules(t *testing.T) {
	var args []string
	for _, at := range []string{"5s", "12s", "19s"} {
		args = append(args, "--attack", "udp_flood,target=203.0.113.9,pps=20000,for=500ms,start="+at)
	}
	capture := traffic(t, "bursts.pcap", append(args, "--hosts", "3", "--pps", "3000", "--even", "--duration", "25s")...)
	s := suggest(t, "--network", "203.0.113.0/24", capture)
	raised := false
	for _, th := range s.Suggestion.Groups[0].Thresholds {
		for _, l := range th.Limits {
			raised = raised || l.Before > 0 && l.Before < l.Limit && strings.Contains(l.Rule, "burst")
			if l.Fires > 0 {
				t.Errorf("%s %s fires %d times", th.Name, l.Unit, l.Fires)
			}
		}
	}
	config := write(t, "suggested.hcl", "network \"ours\" {\n  prefixes = [\"203.0.113.0/24\"]\n}\n"+s.HCL)
	if got := fired(t, config, capture); !raised || len(got) > 0 {
		t.Errorf("raised %v, fires %v:\n%s", raised, got, s.HCL)
	}
}

// What the limits in force call an attack is not usual, unless it is asked for.
func TestSuggestLeavesAttacksOut(t *testing.T) {
	config := limited(t, "limited.hcl", 8000)
	capture := traffic(t, "attack.pcap", append(even, "--attack", "udp_flood,target=203.0.113.7,pps=30000,start=4s")...)
	s := suggest(t, "--config", config, capture)
	g := s.Suggestion.Groups[0]
	if pps := limit(g.Thresholds, "total_incoming", "pps"); pps == 0 || pps > 20000 || g.Attacked[0] < 5 {
		t.Errorf("limit %v, %v s left out", pps, g.Attacked)
	}
	if len(s.Attacks) == 0 || s.Attacks[0].Fires != "both" || s.Attacks[0].Target != "203.0.113.7" {
		t.Errorf("%+v", s.Attacks)
	}
	s = suggest(t, "--config", config, "--include-attacks", capture)
	g = s.Suggestion.Groups[0]
	if pps := max(limit(g.Thresholds, "total_incoming", "pps"), limit(append(g.Thresholds, ownThresholds(s)...), "total_incoming", "pps")); len(g.Own) == 0 && pps < 30000 {
		t.Errorf("with attacks: limit %v", pps)
	}
	if r := run(t, "suggest", "--config", config, "--group", "defaults", capture); r.code != exitConfig || !strings.Contains(r.stderr, `"default"`) {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}

func ownThresholds(s suggestion) (out []suggestedThreshold) {
	for _, g := range s.Suggestion.Groups {
		for _, o := range g.Own {
			out = append(out, o.Thresholds...)
		}
	}
	return out
}

// What belongs to captures is refused without any, and the other way round.
func TestSuggestFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"--network goes with captures":         {"--network", "203.0.113.0/24"},
		"--flows goes with captures":           {"--flows", "netflow"},
		"--include-attacks goes with captures": {"--include-attacks"},
		"--socket asks a running daemon":       {"--socket", "/nowhere", "some.pcap"},
		"not a prefix":                         {"--network", "everything", "some.pcap"},
		"no file some.pcap":                    {"--network", "203.0.113.0/24", "some.pcap"},
	} {
		if r := run(t, append([]string{"suggest"}, args...)...); r.code != exitConfig || !strings.Contains(strings.ReplaceAll(r.stderr, repository+"/", ""), want) {
			t.Errorf("%v: exit %d: %s", args, r.code, r.stderr)
		}
	}
}

// Limits can be made of recorded flows too.
func TestSuggestFromFlows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.pcap")
	mustRun(t, append([]string{"traffic", "--network", "203.0.113.0/24", "--send", "ipfix", "--active", "1s", "--out", path}, even...)...)
	s := suggest(t, "--network", "203.0.113.0/24", "--flows", "netflow", path)
	g := s.Suggestion.Groups[0]
	if both := limit(g.Thresholds, "total_incoming", "pps") + limit(g.Thresholds, "total_outgoing", "pps"); both < 2500 || both > 6000 {
		t.Errorf("limits of %v together for hosts with 2,000 packets a second", both)
	}
}

// Hostgroups without traffic that change, disable or extend thresholds of a base
// for which limits are suggested: these thresholds stay, and what is suggested
// loads in place of the old blocks, even where it has thresholds of their names.
func TestSuggestUnderOtherGroups(t *testing.T) {
	const head = "network \"n\" {\n  prefixes = [\"203.0.113.0/24\"]\n}\n"
	const base = `
hostgroup "default" {
  networks = [network.n]
  threshold "old" {
    pps = 100000
    bps = "1G"
  }
  threshold "total_incoming" {
    scope         = "prefix"
    prefix_length = [28, 64]
    direction     = "incoming"
    fps           = 90000
    bps           = "2G"
  }
  threshold "forgotten" {
    pps = 77777
  }
}
`
	const idle = `
hostgroup "idle" {
  base     = hostgroup.default
  prefixes = ["203.0.113.240/28"]
  threshold "old" {
    disable = ["pps"]
  }
  threshold "total_incoming" {
    prefix_length = [29, 64]
    disable       = ["fps"]
  }
}
hostgroup "idle_too" {
  base     = hostgroup.idle
  prefixes = ["203.0.113.248/29"]
  threshold "old" {
    bps = "3G"
  }
}
`
	capture := traffic(t, "even.pcap", append(even, "--hosts", "40")...)
	for _, group := range []string{"", "default"} {
		args := []string{"suggest", "--config", write(t, "groups.hcl", head+base+idle)}
		if group != "" {
			args = append(args, "--group", group)
		}
		text := mustRun(t, append(args, capture)...).stdout
		for _, want := range []string{
			"# KEPT as it was: hostgroup.idle, hostgroup.idle_too change or disable it", `threshold "old"`, `threshold "total_incoming_suggested"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("--group %q: %q is missing in\n%s", group, want, text)
			}
		}
		if strings.Contains(text, "forgotten") {
			t.Errorf("--group %q: what nothing rests on is kept:\n%s", group, text)
		}
		merged := write(t, "merged.hcl", head+text+idle)
		if r := run(t, "check", merged); r.code != 0 {
			t.Errorf("--group %q: check: exit %d\n%s\n%s", group, r.code, r.stderr, text)
		}
		if got := mustRun(t, "check", "--explain", "idle_too", merged).stdout; !strings.Contains(got, `"2G"`) {
			t.Errorf("--group %q: hostgroup.idle_too has lost what it inherits:\n%s", group, got)
		}
	}
}

// The hostgroups of a configuration keep what else they say: the text can take
// their place, comments and all.
func TestSuggestKeepsSettings(t *testing.T) {
	config := write(t, "groups.hcl", `
network "n" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.n]
  average  = "2s" # shorter than usual
  threshold "old" {
    pps = 100000
  }
}
hostgroup "web" {
  base     = hostgroup.default
  prefixes = ["203.0.113.0/28"]
  quiet    = "1m"
}
hostgroup "idle" {
  base     = hostgroup.default
  prefixes = ["203.0.113.240/28"]
}
`)
	capture := traffic(t, "even.pcap", append(even, "--hosts", "40")...)
	text := mustRun(t, "suggest", "--config", config, capture).stdout
	for _, want := range []string{`average  = "2s"`, `quiet    = "1m"`, "base     = hostgroup.default", `hostgroup "idle" had no traffic`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, `"old"`) {
		t.Error("an old threshold is suggested")
	}
	alone := mustRun(t, "suggest", "--config", config, "--group", "web", capture).stdout
	if strings.Contains(alone, `hostgroup "default"`) || !strings.Contains(alone, "hostgroup.default is left as it is") {
		t.Errorf("--group web:\n%s", alone)
	}
}

// A running daemon knows how rates were, also before it was started again.
func TestSuggestOfDaemon(t *testing.T) {
	dir := t.TempDir()
	capture := traffic(t, "live.pcap", "--even", "--hosts", "10", "--pps", "4000", "--duration", "20s")
	config := filepath.Join(dir, "live.hcl")
	put := func(file string) {
		t.Helper()
		text := fmt.Sprintf(`
daemon {
  runtime_dir = %q
  state_dir   = %q
  baseline    = "2h"
}
network "n" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.n]
  threshold "flood" {
    pps = 50000
    fps = 50000
  }
  threshold "dns" {
    counter = counter.dns_reflection
    pps     = 50000
  }
}
capture "pcap" "recorded" {
  files = [%q]
}
pipeline "main" {
  captures = [capture.pcap.recorded]
}
`, filepath.Join(dir, "run"), dir, file)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(capture)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running")
	var s suggestion
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(250 * time.Millisecond) {
		s = suggest(t, "--config", config)
		if len(s.Suggestion.Groups) == 1 && s.Suggestion.Seconds >= 5 && s.Suggestion.Groups[0].Hosts == 10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is known: %+v\n%s", s.Suggestion, l.stderr)
		}
	}
	g := s.Suggestion.Groups[0]
	pps := limit(g.Thresholds, "total_incoming", "pps")
	if pps == 0 || limit(g.Thresholds, "total_incoming", "fps") == 0 || limit(g.Thresholds, "dns_reflection_incoming", "pps") == 0 || s.Suggestion.Bursts {
		t.Errorf("%+v", g)
	}
	hcl := mustRun(t, "suggest", "--config", config, "--group", "default").stdout
	checked := write(t, "suggested.hcl", "network \"n\" {\n  prefixes = [\"203.0.113.0/24\"]\n}\n"+hcl)
	if r := run(t, "check", checked); r.code != 0 {
		t.Errorf("check: exit %d\n%s\n%s", r.code, r.stderr, hcl)
	}
	if !strings.Contains(hcl, "THIN EVIDENCE") || !strings.Contains(hcl, "the running daemon") {
		t.Errorf("%s", hcl)
	}
	if r := run(t, "suggest", "--config", config, "--group", "nobody"); r.code != exitConfig || !strings.Contains(r.stderr, "nobody") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	l.stop(t)
	put(traffic(t, "short.pcap", "--hosts", "1", "--pps", "10", "--duration", "1s"))
	l = start(t, "run", "--config", config)
	l.waitLog(t, "running")
	again := suggest(t, "--config", config)
	if len(again.Suggestion.Groups) != 1 || again.Suggestion.Seconds < 5 || again.Suggestion.Groups[0].Hosts != 10 {
		t.Errorf("after a restart: %+v", again.Suggestion)
	}
	l.stop(t)
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// scriptCall is what a script was told on standard input.
type scriptCall struct {
	Event     string
	ID        string
	Time      time.Time
	Target    string
	Direction string
	Scope     string
	Threshold string
	Label     string
	Summary   *struct {
		Attacks, Open int
		Parts         []struct{ Target string }
	}
	Evidence *struct{ Samples int }
}

// manyVictims is a daemon with a capture of flows and a script that keeps what
// each call is told in a file of its own.
func manyVictims(t *testing.T, capture string, port int) (config, calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	if err := os.Mkdir(calls, 0o700); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "keep.sh")
	text := fmt.Sprintf("#!/bin/sh\ncat > %[1]s/$$.part && mv %[1]s/$$.part %[1]s/$$.json\n", calls)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return write(t, "many.hcl", fmt.Sprintf(`
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.112.0/23"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1s"
  quiet    = "2s"

  threshold "flood" {
    direction = "incoming"
    pps       = 60
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 64]
    direction     = "incoming"
    pps           = %[4]d
  }
}

summary {
  prefix_length = [23, 48]
}

capture "%[2]s" "in" {
  listen = ["127.0.0.1:%[3]d"]
}

action "script" "keep" {
  role    = "notify"
  command = ["%[5]s"]
  format  = "json"
}

pipeline "main" {
  captures = [capture.%[2]s.in]
  actions  = [action.script.keep]
}
`, dir, capture, port, map[string]int{"sflow": 1_000_000, "netflow": 3000}[capture], script)), calls
}

// readCalls reads what the script was told, in the order of events.
func readCalls(t *testing.T, dir string) (out []scriptCall) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var c scriptCall
		if err := json.Unmarshal(bytes.TrimSpace(text), &c); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b scriptCall) int { return a.Time.Compare(b.Time) })
	return out
}

// untilOver waits until the daemon has told of an end that one of the calls must
// tell.
func untilOver(t *testing.T, l *live, dir string, over func(*scriptCall) bool) []scriptCall {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if calls := readCalls(t, dir); slices.ContainsFunc(calls, func(c scriptCall) bool { return c.Event == "attack.ended" && over(&c) }) {
			time.Sleep(time.Second) // nothing is to follow
			return readCalls(t, dir)
		}
	}
	t.Fatalf("the script was never told of the end\n%s", l.stderr)
	return nil
}

func sendFlood(t *testing.T, protocol string, port, victims, pps int, more ...string) {
	t.Helper()
	args := append([]string{"traffic", "--send", protocol, "--to", fmt.Sprintf("127.0.0.1:%d", port), "--network", "203.0.112.0/23", "--hosts", "5", "--pps", "50", "--ipv6", "0", "--duration", "6s"}, more...)
	for i := range victims {
		args = append(args, "--attack", fmt.Sprintf("udp_flood,target=203.0.%d.%d,pps=%d,start=1s,for=5s", 113-i/200, 1+i%200, pps))
	}
	mustRun(t, args...)
}

// Three hundred victims at once, in real sFlow datagrams: the script is told of
// the first ones by themselves, and of all as one summary that starts and ends.
func TestSummaryOfManyVictimsLive(t *testing.T) {
	t.Parallel()
	const victims = 300
	port := freeUDP(t)
	config, dir := manyVictims(t, "sflow", port)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	sendFlood(t, "sflow", port, victims, 150, "--sampling", "1")
	calls := untilOver(t, l, dir, func(c *scriptCall) bool { return c.Summary != nil })
	told := map[string][]string{} // what happened, by attack
	largest := 0
	for _, c := range calls {
		kind := "attack"
		if c.Summary != nil {
			kind = "summary"
			largest = max(largest, c.Summary.Attacks)
			if c.Target != "203.0.112.0/23" || len(c.Summary.Parts) > 100 || len(c.Summary.Parts) == 0 {
				t.Errorf("%s of a summary on %q with %d parts", c.Event, c.Target, len(c.Summary.Parts))
			}
			if c.Event == "attack.ended" && (c.Summary.Attacks != victims || c.Summary.Open != 0) {
				t.Errorf("at its end the summary has %d attacks, %d open", c.Summary.Attacks, c.Summary.Open)
			}
		}
		told[kind+" "+c.ID] = append(told[kind+" "+c.ID], strings.TrimPrefix(c.Event, "attack."))
	}
	summaries, alone := 0, 0
	for id, events := range told {
		if strings.HasPrefix(id, "attack ") {
			alone++
		} else if summaries++; events[0] != "started" || events[len(events)-1] != "ended" || len(events) > 4 {
			t.Errorf("the summary was told as %v", events)
		}
	}
	if summaries != 1 || alone != 3 || largest != victims || len(calls) > 20 {
		t.Errorf("%d summaries of up to %d attacks, %d attacks by themselves, %d calls", summaries, largest, alone, len(calls))
	}
	l.stop(t)
}

// A carpet of flow records over a /24, none of whose hosts crosses its own limit,
// is one attack, with its label and samples.
func TestCarpetLive(t *testing.T) {
	t.Parallel()
	port := freeUDP(t)
	config, dir := manyVictims(t, "netflow", port)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	sendFlood(t, "ipfix", port, 200, 40, "--active", "1s")
	calls := untilOver(t, l, dir, func(c *scriptCall) bool { return c.Scope == "prefix" })
	var started []string
	for _, c := range calls {
		if c.Event == "attack.started" {
			started = append(started, c.Scope+" "+c.Threshold+" "+c.Target)
		}
		if c.Event == "attack.ended" && (c.Label != "carpet" || c.Evidence == nil || c.Evidence.Samples < 50) {
			t.Errorf("label %s, evidence %+v", c.Label, c.Evidence)
		}
	}
	if !slices.Equal(started, []string{"prefix carpet 203.0.113.0/24"}) {
		t.Errorf("started: %q", started)
	}
	l.stop(t)
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// past is what "attacks" lists of the history.
func past(t *testing.T, config string, args ...string) []attackJSONIn {
	t.Helper()
	var page struct {
		Attacks []attackJSONIn `json:"attacks"`
	}
	out := mustRun(t, append([]string{"attacks", "--config", config, "--json"}, args...)...).stdout
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return page.Attacks
}

// attackJSONIn is as much of an attack as these tests look at.
type attackJSONIn struct {
	State string `json:"state"`
	Ended string `json:"ended"`
	Event struct {
		ID       string  `json:"id"`
		Target   string  `json:"target"`
		Label    string  `json:"label"`
		Peak     float64 `json:"peak_pps"`
		Evidence struct {
			PCAP   string `json:"pcap"`
			Frames int    `json:"frames"`
		} `json:"evidence"`
	} `json:"event"`
}

// An attack is kept from its start on, whatever becomes of the daemon, and can
// be looked up, exported and its packets read by others.
func TestHistoryOfARealAttack(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "attack.pcap")
	mustRun(t, "traffic", "--out", capture, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "6s", "--pps", "1000",
		"--attack", "dns_amplification,target="+attackTarget+",pps=20000,start=1s,for=4s")
	config := liveConfig(t, capture, filepath.Join(t.TempDir(), "calls"))
	state := stateDir(t, config)

	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack started")
	open := past(t, config, "--state", "open", "--target", attackTarget)
	if len(open) != 1 || open[0].Event.Target != attackTarget || open[0].Ended != "" {
		t.Fatalf("open: %+v", open)
	}
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-l.done; err == nil {
		t.Error("killed, yet it ended well")
	}
	close(l.done)
	left := past(t, config, "--since", "1h")
	if len(left) != 1 || left[0].State != "interrupted" || left[0].Ended == "" || left[0].Event.ID != open[0].Event.ID {
		t.Errorf("killed, and read without a daemon: %+v", left)
	}

	l = start(t, "run", "--config", config)
	l.waitLog(t, "attack ended")
	ended := past(t, config, "--state", "ended", "--label", "dns_reflection", "--min-peak", "10k", "--threshold", "flood", "--group", "default", "--since", "1h")
	if len(ended) != 1 || ended[0].Event.ID == open[0].Event.ID {
		t.Fatalf("ended: %+v", ended)
	}
	checkPackets(t, config, &ended[0])
	states := checkExports(t, mustRun(t, "attacks", "export", "--config", config, "--format", "json").stdout, mustRun(t, "attacks", "export", "--config", config).stdout)
	if !slices.Equal(states, []string{"ended", "interrupted"}) {
		t.Errorf("exported: %q", states)
	}
	shown := mustRun(t, "attacks", "show", ended[0].Event.ID, "--config", config).stdout
	for _, want := range []string{"label       dns_reflection", "first minute", "limits crossed", "  ended ", ".pcap, ", ".txt, "} {
		if !strings.Contains(shown, want) {
			t.Errorf("shown without %q:\n%s", want, shown)
		}
	}
	if sum := mustRun(t, "attacks", "summary", "--config", config).stdout; !strings.Contains(sum, "attacks      2 (0)") {
		t.Errorf("the week:\n%s", sum)
	}
	l.stop(t)
	if again := past(t, config, "--state", "ended"); len(again) != 1 || again[0].Event.ID != ended[0].Event.ID {
		t.Errorf("after a stop: %+v", again)
	}

	// A damaged file is told of, and keeps nobody from working.
	path := filepath.Join(state, store.HistoryFile)
	if err := os.WriteFile(path, bytes.Repeat([]byte("damage"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	l = start(t, "run", "--config", config)
	l.waitLog(t, "attack started")
	if got := past(t, config, "--state", "open"); len(got) != 1 {
		t.Errorf("in a new history: %+v", got)
	}
	if status := mustRun(t, "status", "--config", config).stdout; !strings.Contains(status, "the attack history was damaged") {
		t.Errorf("no trouble in\n%s", status)
	}
	l.stop(t)
	if kept, err := filepath.Glob(path + ".damaged-*"); err != nil || len(kept) != 1 {
		t.Errorf("set aside: %q %v", kept, err)
	}
}

// stateDir is where a configuration keeps what survives.
func stateDir(t *testing.T, config string) string {
	t.Helper()
	f := archiveFlags{clientFlags: clientFlags{config: config}}
	cfg, err := f.setting(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Daemon.StateDir
}

// checkPackets holds "attacks pcap" against the file, and has tshark read it.
func checkPackets(t *testing.T, config string, a *attackJSONIn) {
	t.Helper()
	got := filepath.Join(t.TempDir(), "got.pcap")
	mustRun(t, "attacks", "pcap", a.Event.ID, "--config", config, "--out", got)
	content, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(a.Event.Evidence.PCAP)
	if err != nil || !bytes.Equal(content, file) {
		t.Errorf("%d octets, the file has %d: %v", len(content), len(file), err)
	}
	out, err := exec.Command("tshark", "-r", got, "-T", "fields", "-e", "ip.dst").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != a.Event.Evidence.Frames || len(lines) < 50 {
		t.Errorf("tshark reads %d packets of %d", len(lines), a.Event.Evidence.Frames)
	}
	for _, dst := range lines {
		if dst != attackTarget {
			t.Errorf("a packet to %s", dst)
		}
	}
}

// What nDPI finds is there with the evidence, and names the attack where it is
// surer than the rules.
func TestFindingsJoinTheAttack(t *testing.T) {
	if leftOut("plugins/action/ndpi") {
		sdktest.Absent(t, "libndpi is missing")
	}
	capture := filepath.Join(t.TempDir(), "attack.pcap")
	mustRun(t, "traffic", "--out", capture, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "5s", "--pps", "1000",
		"--attack", "snmp_amplification,target="+attackTarget+",pps=20000,start=1s,for=4s")
	config := liveConfig(t, capture, filepath.Join(t.TempDir(), "calls"))
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "actions  = [", "actions  = [action.ndpi.dpi, ", 1) + "\naction \"ndpi\" \"dpi\" {}\n"
	if err := os.WriteFile(config, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack goes on") // the update that brings the evidence
	found := past(t, config, "--label", "snmp_reflection")
	if len(found) != 1 {
		t.Fatalf("%+v", found)
	}
	if shown := mustRun(t, "attacks", "show", found[0].Event.ID, "--config", config).stdout; !strings.Contains(shown, "% of the packets are answers from UDP port 161") {
		t.Errorf("shown without findings:\n%s", shown)
	}
	l.stop(t)
}

// What a daemon cannot write does not keep it from anything else.
func TestNoRoomForTheHistory(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "attack.pcap")
	mustRun(t, "traffic", "--out", capture, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "4s", "--pps", "1000",
		"--attack", "syn_flood,target="+attackTarget+",pps=20000,start=1s,for=2s")
	config := liveConfig(t, capture, filepath.Join(t.TempDir(), "calls"))
	state := stateDir(t, config)
	path := filepath.Join(state, store.HistoryFile)
	if err := os.Mkdir(path, 0o700); err != nil { // it cannot be a file then
		t.Fatal(err)
	}
	l := start(t, "run", "--config", config)
	l.waitLog(t, "attack ended")
	if status := mustRun(t, "status", "--config", config).stdout; !strings.Contains(status, "the attack history has not been written since") {
		t.Errorf("no trouble in\n%s", status)
	}
	if r := run(t, "attacks", "--config", config, "--state", "ended"); r.code != exitFailure || !strings.Contains(r.stderr, "the attack history is not open") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if r := run(t, "doctor", "--config", config); r.code != exitFailure || !strings.Contains(r.stdout, "attack history") {
		t.Errorf("doctor: exit %d\n%s", r.code, r.stdout)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		if r := run(t, "attacks", "--config", config, "--state", "ended", "--json"); r.code == 0 && strings.Contains(r.stdout, attackTarget) {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("what waited was not written\n%s", l.stderr)
		}
	}
	l.stop(t)
}

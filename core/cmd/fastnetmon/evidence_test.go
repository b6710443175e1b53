package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	parse "github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const evidenceConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]
  average  = "1s"
  quiet    = "2s"

  threshold "flood" {
    direction = "incoming"
    pps       = %[2]d
  }
}

%[3]s

pipeline "main" {
  captures = [capture.%[4]s.in]
}
`

// Fifty victims at once: each one's capture file holds packets to it and to
// nobody else, and the original's report goes on with them.
func TestEvidenceOfFiftyVictims(t *testing.T) {
	const victims = 50
	dir := t.TempDir()
	capture := filepath.Join(dir, "attack.pcap")
	args := []string{"traffic", "--out", capture, "--seed", "3", "--network", "203.0.113.0/24", "--duration", "5s", "--pps", "500"}
	for i := range victims {
		args = append(args, "--attack", fmt.Sprintf("ntp_amplification,target=203.0.113.%d,pps=600,start=1s,for=3s", i+1))
	}
	mustRun(t, args...)
	config := write(t, "fifty.hcl", fmt.Sprintf(evidenceConfig, dir, 200, fmt.Sprintf("capture \"pcap\" \"in\" {\n  files = [%q]\n}", capture), "pcap"))
	l := start(t, "run", "--config", config)
	seen := map[netip.Addr]bool{}
	files := filepath.Join(dir, "state", "evidence", "*.pcap")
	for deadline := time.Now().Add(30 * time.Second); len(seen) < victims; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d victims have a capture file", len(seen), victims)
		}
		paths, err := filepath.Glob(files)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			target := netip.MustParseAddr(strings.Split(filepath.Base(path), "_")[1])
			if !seen[target] {
				checkEvidence(t, path, target)
				seen[target] = true
			}
		}
	}
	l.stop(t)
}

// checkEvidence wants a file with many of the target's packets and a report
// beside it.
func checkEvidence(t *testing.T, path string, target netip.Addr) {
	t.Helper()
	if n := checkPacketsTo(t, path, target); n < 50 || n > 100 {
		t.Errorf("%s has %d packets", path, n)
	}
	report, err := os.ReadFile(strings.TrimSuffix(path, ".pcap") + ".txt")
	labelled := strings.Contains(string(report), "label       ntp_reflection")
	if err == nil && (!labelled || !strings.Contains(string(report), "\nAttack traffic dump\n")) {
		t.Errorf("the report beside %s:\n%s", path, report)
	}
}

// longestDelay is the longest time from a decision to the line in the log.
func longestDelay(t *testing.T, l *live, decided map[string]time.Time) (longest time.Duration) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^(\S+) .*attack started: .* target=([0-9.]+)/32 `).FindAllStringSubmatch(l.stderr.String(), -1) {
		at, err := time.Parse(time.RFC3339, m[1])
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, at.Sub(decided[m[2]]))
	}
	return longest
}

// checkPacketsTo wants a file with packets to a target only, and says how many.
func checkPacketsTo(t *testing.T, path string, target netip.Addr) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var parser parse.Parser
	for ; ; n++ {
		data, info, err := r.ReadPacketData()
		if err != nil {
			return n
		}
		var p parse.Record
		if parser.Ethernet(&p, data, info.Length) != parse.OK || p.DstAddr() != target {
			t.Fatalf("%s: packet %d is to %v", path, n, p.DstAddr())
		}
	}
}

// At one sample in a thousand, fifty victims at once are each told of before
// anything of their evidence is there; it follows, of each one alone and no more
// than was asked for. How soon both are is logged.
func TestEvidenceOfFiftySampledVictims(t *testing.T) {
	for _, protocol := range []string{"sflow", "ipfix"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			fiftySampled(t, protocol, map[string]string{"sflow": "sflow", "ipfix": "netflow"}[protocol])
		})
	}
}

func fiftySampled(t *testing.T, protocol, capture string) {
	const victims, packets = 50, 100
	dir, port := t.TempDir(), freeUDP(t)
	told := filepath.Join(dir, "told.jsonl")
	block := fmt.Sprintf("capture %q \"in\" {\n  listen = [\"127.0.0.1:%d\"]\n}\nexport \"file\" \"told\" {\n  path      = %q\n  snapshots = false\n}", capture, port, told)
	text := fmt.Sprintf(evidenceConfig, dir, 10000, block, capture)
	text = strings.Replace(text, "captures = [", "exports  = [export.file.told]\n  captures = [", 1)
	l := start(t, "run", "--config", write(t, "sampled.hcl", text))
	l.waitLog(t, "running: captures")
	args := []string{
		"traffic", "--send", protocol, "--to", fmt.Sprintf("127.0.0.1:%d", port), "--sampling", "1000", "--active", "1s", "--inactive", "500ms",
		"--duration", "12s", "--network", "203.0.113.0/24", "--hosts", "5", "--pps", "50", "--ipv6", "0",
	}
	for i := range victims {
		args = append(args, "--attack", fmt.Sprintf("dns_amplification,target=203.0.113.%d,pps=60000,start=1s", i+1))
	}
	sender := start(t, args...)
	started, labelled, over := map[string]time.Time{}, map[string]time.Time{}, map[string]bool{}
	var evidence time.Duration // from an event to the evidence, the longest
	limit := time.Now().Add(time.Minute)
	for read := 0; len(labelled) < victims; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(told) // it may not be there yet
		lines := bytes.Split(text, []byte("\n"))
		if time.Now().After(limit) {
			t.Fatalf("%d of %d victims told of, %d with evidence\n%s", len(started), victims, len(labelled), l.stderr)
		}
		for ; read < len(lines)-1; read++ {
			var e struct {
				Event, Target, Label string
				Time                 time.Time
				Evidence             *struct {
					Samples, Frames, Flows int
					Tops                   map[string]struct{ Rows []struct{ Value string } }
				}
			}
			if err := json.Unmarshal(lines[read], &e); err != nil {
				t.Fatalf("%v: %s", err, lines[read])
			}
			switch began, ok := started[e.Target]; {
			case e.Event == "attack.ended": // a sender that did not run for a while ends one, and starts another
				over[e.Target] = true
			case e.Event == "attack.started":
				if ok && !over[e.Target] || e.Evidence != nil {
					t.Errorf("%s: started twice, or only with its evidence", e.Target)
				}
				if !ok {
					started[e.Target] = e.Time
				}
				over[e.Target] = false
			case e.Evidence == nil:
			case !ok:
				t.Errorf("%s: evidence of an attack that was not told of", e.Target)
			default:
				if e.Evidence.Frames > packets || e.Evidence.Samples > 8*packets || e.Evidence.Samples == 0 || e.Label != "dns_reflection" {
					t.Errorf("%s, %s: %d samples, %d frames, %d flows", e.Target, e.Label, e.Evidence.Samples, e.Evidence.Frames, e.Evidence.Flows)
				}
				if to := e.Evidence.Tops["destinations"].Rows; len(to) != 1 || to[0].Value != e.Target {
					t.Errorf("the evidence of %s is of %v", e.Target, to)
				}
				if _, ok := labelled[e.Target]; !ok {
					labelled[e.Target] = e.Time
					evidence = max(evidence, e.Time.Sub(began))
				}
			}
		}
	}
	t.Logf("logged %s after the decision at the latest, with evidence %s later", longestDelay(t, l, started), evidence)
	if protocol == "sflow" {
		files, err := filepath.Glob(filepath.Join(dir, "state", "evidence", "*.pcap"))
		if err != nil || len(files) < victims {
			t.Errorf("%d capture files: %v", len(files), err)
		}
		for _, path := range files {
			target := netip.MustParseAddr(strings.Split(filepath.Base(path), "_")[1])
			if n := checkPacketsTo(t, path, target); n == 0 || n > packets {
				t.Errorf("%s has %d packets", path, n)
			}
		}
	}
	if err := sender.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	l.stop(t)
}

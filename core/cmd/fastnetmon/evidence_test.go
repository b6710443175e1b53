package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

func checkEvidence(t *testing.T, path string, target netip.Addr) {
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
	n := 0
	for ; ; n++ {
		data, info, err := r.ReadPacketData()
		if err != nil {
			break
		}
		var p parse.Record
		if parser.Ethernet(&p, data, info.Length) != parse.OK || p.DstAddr() != target {
			t.Fatalf("%s: packet %d is to %v", path, n, p.DstAddr())
		}
	}
	if n < 50 || n > 100 {
		t.Errorf("%s has %d packets", path, n)
	}
	report, err := os.ReadFile(strings.TrimSuffix(path, ".pcap") + ".txt")
	labelled := strings.Contains(string(report), "label       ntp_reflection")
	if err == nil && (!labelled || !strings.Contains(string(report), "\nAttack traffic dump\n")) {
		t.Errorf("the report beside %s:\n%s", path, report)
	}
}

// At one sample in a thousand the attack is told as soon as it is seen; its
// evidence, sampled headers, follows. How soon is logged: it is to be less than
// five seconds.
func TestEvidenceOfSamples(t *testing.T) {
	dir, port := t.TempDir(), freeUDP(t)
	block := fmt.Sprintf("capture \"sflow\" \"in\" {\n  listen = [\"127.0.0.1:%d\"]\n}", port)
	config := write(t, "samples.hcl", fmt.Sprintf(evidenceConfig, dir, 20000, block, "sflow"))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	began := time.Now()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		run(t, "traffic", "--send", "sflow", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--sampling", "1000", "--duration", "8s", "--network", "203.0.113.0/24",
			"--attack", "dns_amplification,target=203.0.113.7,pps=60000")
	}()
	l.waitLog(t, "attack started")
	started := time.Now()
	l.waitLog(t, "label=dns_reflection")
	t.Logf("told after %s, labelled %s later", started.Sub(began), time.Since(started))
	<-sent
	l.stop(t)
}

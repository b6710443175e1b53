package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const flowsConfig = `
daemon {
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24", "2001:db8::/64"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
}

capture "netflow" "flows" {
  listen = ["127.0.0.1:%[2]d"]
}

pipeline "main" {
  captures = [capture.netflow.flows]
}
`

// What a router has told of its templates outlives the daemon, without being
// configured.
func TestTemplatesSurviveARestart(t *testing.T) {
	dir, port := t.TempDir(), freeUDP(t)
	config := write(t, "flows.hcl", fmt.Sprintf(flowsConfig, dir, port))
	send := func() {
		mustRun(t, "traffic", "--send", "ipfix", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", "2s", "--active", "500ms", "--inactive", "100ms",
			"--attack", "udp_flood,target=203.0.113.7,pps=400000")
	}
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	send()
	l.waitLog(t, "attack started")
	l.stop(t)
	file := filepath.Join(dir, "state", "plugins", "capture-netflow-flows", "templates")
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Fatalf("templates are not kept: %v, %v", info, err)
	}
	l = start(t, "run", "--config", config)
	l.waitLog(t, "templates of the last run are used")
	l.waitLog(t, "running: captures")
	send()
	l.waitLog(t, "attack started")
	l.stop(t)
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const checkBase = `
network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]

  threshold "flood" {
    pps = 1000
  }
}
`

// What only the plugins themselves can tell is shown at the line it is about.
func TestCheckAsksThePlugins(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"missing plugin": {`capture "pcapp" "file" {
  files = ["x.pcap"]
}
`, []string{"Error: Missing plugin", "broken.hcl line 13", `capture "pcapp" "file"`, `did you mean capture "pcap"?`}},
		"unknown setting": {`capture "pcap" "file" {
  file = ["x.pcap"]
}
`, []string{"broken.hcl line 14", "file = ", `"files"`}},
		"missing file": {`capture "pcap" "file" {
  files = ["there-is-none.pcap"]
}
`, []string{"broken.hcl line 14", `"there-is-none.pcap"`, "^^^^"}},
		"wrong role": {`action "script" "notify" {
  role    = "notice"
  command = ["/bin/true"]
}
`, []string{"broken.hcl line 14", `"notice"`, "mitigate"}},
		"no such program": {`action "script" "notify" {
  role    = "notify"
  command = ["/no/such/program"]
}
`, []string{"broken.hcl line 15", "/no/such/program"}},
		"reference too deep": {`action "script" "notify" {
  role    = "notify"
  command = ["/bin/true"]
}
capture "hello" "x" {}
pipeline "main" {
  captures = [capture.hello.x]
  actions  = [action.script.notify.edge]
}
`, []string{"broken.hcl line 20", "edge"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, "check", write(t, "broken.hcl", checkBase+c.text))
			if r.code != exitConfig {
				t.Errorf("exit status %d, want %d", r.code, exitConfig)
			}
			for _, want := range c.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("the message lacks %q", want)
				}
			}
			if t.Failed() {
				t.Log(r.stderr)
			}
		})
	}
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing to capture": {checkBase, "capture"},
		"plugin complains": {checkBase + `capture "pcap" "file" {
  files = ["there-is-none.pcap"]
}
pipeline "main" {
  captures = [capture.pcap.file]
}
`, "there-is-none.pcap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := strings.Replace(c.text, "network", "daemon {\n  runtime_dir = \""+t.TempDir()+"\"\n  state_dir = \""+t.TempDir()+"\"\n}\nnetwork", 1)
			r := run(t, "run", "--config", write(t, "broken.hcl", config))
			if r.code != exitConfig || !strings.Contains(r.stderr, c.want) {
				t.Errorf("exit status %d\n%s", r.code, r.stderr)
			}
		})
	}
}

func TestConfigurationIsLookedFor(t *testing.T) {
	r := runIn(t, t.TempDir(), "run")
	for _, place := range configPlaces {
		if !strings.Contains(r.stderr, place) {
			t.Errorf("the message does not say that %s was looked for:\n%s", place, r.stderr)
		}
	}
	if r.code != exitConfig {
		t.Errorf("exit status %d", r.code)
	}
	if r := run(t, "check"); r.code != 0 || !strings.Contains(r.stdout, "fastnetmon.hcl is valid") {
		t.Errorf("fastnetmon.hcl of the repository: %s%s", r.stdout, r.stderr)
	}
}

func TestPluginList(t *testing.T) {
	var list []listed
	if err := json.Unmarshal([]byte(mustRun(t, "plugin", "list", "--json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]listed{}
	for _, p := range list {
		found[p.Kind+"-"+p.Name] = p
	}
	for _, name := range []string{"capture-pcap", "action-script"} {
		p := found[name]
		if p.Version == "" || p.Error != "" || p.Path != filepath.Join(filepath.Dir(program), "plugins", name) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	var about struct{ Name, Kind string }
	if err := json.Unmarshal([]byte(mustRun(t, "plugin", "describe", "capture", "pcap").stdout), &about); err != nil || about.Name != "pcap" {
		t.Errorf("describe: %+v, %v", about, err)
	}
}

func TestTrafficIsTheSameForTheSameSeed(t *testing.T) {
	var files [3][]byte
	for i, seed := range []string{"5", "5", "6"} {
		path := filepath.Join(t.TempDir(), "traffic.pcap")
		mustRun(t, "traffic", "--out", path, "--seed", seed, "--duration", "1s", "--attack", "udp_flood,target=203.0.113.9,pps=500")
		files[i], _ = os.ReadFile(path) // an empty one fails below
	}
	if len(files[0]) < 1000 || string(files[0]) != string(files[1]) || string(files[0]) == string(files[2]) {
		t.Error("the same seed must give the same file, another seed another one")
	}
	for _, bad := range [][]string{
		{"traffic"},
		{"traffic", "--out", "x.pcap", "--attack", "udp_flood"},
		{"traffic", "--out", "x.pcap", "--attack", "udp_flod,target=203.0.113.9,pps=1"},
		{"traffic", "--out", "x.pcap", "--attack", "udp_flood,target=203.0.113.9,pps=1,colour=red"},
	} {
		if r := runIn(t, t.TempDir(), bad...); r.code == 0 || r.stderr == "" {
			t.Errorf("%v: exit status %d, %q", bad, r.code, r.stderr)
		}
	}
}

// The demo is the first thing that anybody runs.
func TestDemo(t *testing.T) {
	r := mustRun(t, "demo")
	for _, want := range []string{"attack.started", "attack.ended", "203.0.113.7", "Attack type: syn_flood", "called with: 203.0.113.7 incoming", "sources     entropy", "TCP SYN"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if t.Failed() || r.stderr != "" {
		t.Logf("%s\n%s", r.stdout, r.stderr)
	}
	if left := processes(); left != "" {
		t.Errorf("left running:\n%s", left)
	}
}

func TestCheckExplain(t *testing.T) {
	path := filepath.Join(repository, "fastnetmon.hcl")
	if out := mustRun(t, "check", "--explain", "dns", path).stdout; !strings.Contains(out, "# Merged with its base: hostgroup.default.") || !strings.Contains(out, "hostgroup \"dns\" {") {
		t.Errorf("explained as:\n%s", out)
	}
	if r := run(t, "check", "--explain", "dsn", path); r.code != exitConfig || !strings.Contains(r.stderr, `did you mean "dns"`) {
		t.Errorf("exit status %d: %s", r.code, r.stderr)
	}
}

// An error elsewhere does not keep a hostgroup from being explained.
func TestCheckExplainDespiteErrors(t *testing.T) {
	broken := write(t, "broken.hcl", checkBase+`
hostgroup "child" {
  base     = hostgroup.default
  prefixes = ["203.0.113.8/29"]
  quiet    = "1m"
}
hostgroup "wrong" {
  prefixes = ["203.0.113.16/29"]
  threshold "flood" {
    pps  = "many"
    bsp  = "1G"
  }
}
`)
	r := run(t, "check", "--explain", "child", broken)
	if r.code != exitConfig || !strings.Contains(r.stderr, `"bsp"`) {
		t.Errorf("exit status %d, %s", r.code, r.stderr)
	}
	for _, want := range []string{"# The configuration has errors", `hostgroup "child" {`, `"1m"`, "1000"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in\n%s", want, r.stdout)
		}
	}
	if r := run(t, "check", "--explain", "chld", broken); r.code != exitConfig || !strings.Contains(r.stderr, `did you mean "child"`) {
		t.Errorf("exit status %d: %s", r.code, r.stderr)
	}
	if r := run(t, "check", "--explain", "child", write(t, "syntax.hcl", "hostgroup \"child\" {")); r.code != exitConfig || r.stdout != "" || strings.Contains(r.stderr, "did you mean") {
		t.Errorf("exit status %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

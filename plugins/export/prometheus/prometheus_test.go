package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", sdktest.FreePort(t))
}

// launch starts the plugin as a process, as the core does, and has it listen.
func launch(t *testing.T, listen string) *host.Plugin {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{envPlugin + "=1", "GOCOVERDIR=" + t.TempDir()}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: host.Handshake, VersionedPlugins: host.PluginSets(), Cmd: cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, AutoMTLS: true, SkipHostEnv: true,
		StartTimeout: 20 * time.Second, Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	p, err := host.Dispense(client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := p.Describe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclparse.NewParser().ParseHCL([]byte(fmt.Sprintf("listen = %q\n", listen)), "block.hcl")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	block, diags := hcldec.Decode(file.Body, d.Schema.DecoderSpec(), nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if _, complaints, err := p.Configure(ctx, host.ConfigureRequest{Value: block, Instance: "metrics", Mode: "run"}); err != nil || complaints.HasErrors() {
		t.Fatal(err, complaints)
	}
	if complaints, err := p.Start(ctx); err != nil || complaints.HasErrors() {
		t.Fatal(err, complaints)
	}
	return p
}

// startPrometheus starts the server with the example's rules; it ends with the
// test.
func startPrometheus(t *testing.T, target string) (address string, said *sdktest.Output) {
	t.Helper()
	program := sdktest.Program(t, "prometheus")
	dir := t.TempDir()
	rules, err := os.ReadFile("../../../examples/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	// The example's own file, but for times and the target.
	config, err := os.ReadFile("../../../examples/prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("127.0.0.1:9209", target, "_interval: 15s", "_interval: 200ms").Replace(string(config))
	for name, content := range map[string]string{"prometheus.yml": text, "alerts.yml": string(rules)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, said = freeAddress(t), &sdktest.Output{}
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("prometheus: %v\n%s", err, said)
		}
	})
	return address, said
}

// ask calls the server's API; false means that it does not answer so far.
func ask(t *testing.T, address, path string, data any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/v1/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer := struct{ Data any }{data}
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(&answer) == nil
}

// query is the value of an expression that has one series; "" means none.
func query(t *testing.T, address, expression string) string {
	t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	if !ask(t, address, "query?query="+url.QueryEscape(expression), &data) || len(data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(data.Result[0].Value[1])
}

// A Prometheus server scrapes the plugin's process, and its rules find what
// is wrong.
func TestRealPrometheus(t *testing.T) {
	listen := freeAddress(t)
	p := launch(t, listen)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := p.Export(ctx, sample()); err != nil {
		t.Fatal(err)
	}
	if err := p.Events(ctx, sample().Attacks); err != nil {
		t.Fatal(err)
	}
	address, said := startPrometheus(t, listen)
	wants := map[string]string{
		`up{job="fastnetmon"}`: "1",
		`fastnetmon_total_packets_per_second{direction="incoming",family="ipv4",counter="total"}`: "4000",
		`sum(fastnetmon_attacks_open)`: "3",
		`fastnetmon_host_bytes_per_second{host="2001:db8::1",direction="incoming",counter="total"} * 8`: "2399200",
		`histogram_quantile(0.99, fastnetmon_detection_delay_seconds_bucket)`:                           "0.1",
		`count(ALERTS{alertname="FastNetMonAttack",alertstate="firing"})`:                               "2",
		`max(scrape_samples_scraped{job="fastnetmon"}) - max(fastnetmon_series)`:                        "0",
	}
	for expression, want := range wants {
		got := ""
		for got != want {
			if got = query(t, address, expression); got == want {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s is %q, want %s\n%s", expression, got, want, said)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if !ask(t, address, "rules", &rules) || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) == 0 {
		t.Fatalf("rules: %+v", rules)
	}
	for _, r := range rules.Groups[0].Rules {
		if r.Health == "err" {
			t.Errorf("rule %s: %s", r.Name, r.LastError)
		}
	}
	if strings.Contains(said.String(), "level=error") {
		t.Error(said)
	}
}

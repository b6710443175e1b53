package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/stdio"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// The test binary as a plugin in a process of its own.

func command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = []string{envPlugin + "=" + name, "GOCOVERDIR=" + t.TempDir()}
	return cmd
}

func cookie() string { return host.Handshake.MagicCookieKey + "=" + host.Handshake.MagicCookieValue }

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestCookieIsTheHandshakes(t *testing.T) {
	if stdio.CookieKey+"="+stdio.CookieValue != cookie() {
		t.Error("package stdio looks for another cookie than the handshake's")
	}
}

func TestDescribeCommand(t *testing.T) {
	for _, env := range []string{"", cookie()} {
		cmd := command(t, "bgp", "describe")
		cmd.Env = append(cmd.Env, env)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		d, err := host.ParseDescription(out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if d.Name != "bgp" || d.Kind != host.KindAction || d.TargetBlock != "announce" || len(d.Schema.Blocks) != 1 {
			t.Errorf("description is %+v", d)
		}
	}
}

func TestStartedByHand(t *testing.T) {
	for _, c := range []struct {
		plugin string
		args   []string
		code   int
		want   string
	}{
		{"hello", nil, 1, `This is a plugin of FastNetMon, action "hello", version 1.0.0.`},
		{"hello", []string{"run"}, 1, "It does nothing by itself"},
		{"hello", []string{"-nonsense"}, 1, "flag provided but not defined"},
		{"hello", []string{"-help"}, 0, "describe   print what the plugin is"},
		{"broken", nil, 2, `sdk.Plugin "broken": set one of Capture, Filter`},
	} {
		cmd := command(t, c.plugin, c.args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if exitCode(err) != c.code || !strings.Contains(stderr.String(), c.want) || len(out) > 0 {
			t.Errorf("%s %v: exit code %d, stdout %q, stderr:\n%s", c.plugin, c.args, exitCode(err), out, &stderr)
		}
	}
}

// dispense starts a plugin as the core does: AutoMTLS, clean environment.
func dispense(cmd *exec.Cmd, stderr io.Writer) (*host.Plugin, *plugin.Client, error) {
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: host.Handshake, VersionedPlugins: host.PluginSets(), Cmd: cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, SkipHostEnv: true,
		StartTimeout: 20 * time.Second, Logger: hclog.NewNullLogger(), Stderr: stderr,
	})
	p, err := host.Dispense(client)
	return p, client, err
}

func launch(t *testing.T, name string, stderr io.Writer) (*host.Plugin, *plugin.Client) {
	t.Helper()
	p, client, err := dispense(command(t, name), stderr)
	t.Cleanup(client.Kill)
	if err != nil {
		t.Fatal(err)
	}
	return p, client
}

func configure(t *testing.T, p *host.Plugin, attrs map[string]cty.Value) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, diags, err := p.Configure(ctx, host.ConfigureRequest{Value: cty.ObjectVal(attrs), Instance: "x", Mode: "run"})
	if err != nil || diags.HasErrors() {
		t.Fatalf("Configure: %v %v", err, diags)
	}
	if diags, err := p.Start(ctx); err != nil || diags.HasErrors() {
		t.Fatalf("Start: %v %v", err, diags)
	}
}

func TestPrintsBecomeLogLines(t *testing.T) {
	var stderr sdktest.Output
	p, client := launch(t, "chatter", &stderr)
	configure(t, p, map[string]cty.Value{"hang": cty.NullVal(cty.Bool)})
	if err := p.Notify(t.Context(), sdktest.Event()); err != nil {
		t.Fatal(err)
	}
	if err := p.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"@level":"info","@message":"printed in init"`, `"@message":"printed in build"`, `"@message":"printed in Notify"`,
		"to stderr in Notify", `"@level":"warn","@message":"logged in Notify"`, `"@message":"printed in Close"`,
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, w := range want {
		for !strings.Contains(stderr.String(), w) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s in the plugin's standard error:\n%s", w, stderr.String())
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	client.Kill()
	if err := p.Notify(t.Context(), sdktest.Event()); !errors.Is(err, host.ErrGone) {
		t.Errorf("a call of a dead plugin fails with %v", err)
	}
}

// started runs a plugin without go-plugin's client and waits for its
// handshake.
func started(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, cookie(), "PLUGIN_PROTOCOL_VERSIONS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "1|1|unix|") || !strings.Contains(line, "|grpc|") {
		t.Fatalf("the handshake is %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

func waitExit(t *testing.T, cmd *exec.Cmd, within time.Duration) int {
	t.Helper()
	done := make(chan int, 1)
	go func() { done <- exitCode(cmd.Wait()) }()
	select {
	case code := <-done:
		return code
	case <-time.After(within):
		t.Fatalf("the plugin has not ended within %v", within)
		return 0
	}
}

func TestEndsWhenTheCoreDies(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := command(t, "chatter")
	cmd.ExtraFiles = []*os.File{nil, r}
	cmd.Env = append(cmd.Env, host.EnvLivenessFD+"=4")
	started(t, cmd)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if code := waitExit(t, cmd, 2*time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestSignals(t *testing.T) {
	cmd := command(t, "chatter")
	started(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := waitExit(t, cmd, 10*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0: SIGINT is the core's affair, SIGTERM drains", code)
	}
}

func TestDebugAndReattach(t *testing.T) {
	cmd := command(t, "hello", "-debug")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var value string
	for lines := bufio.NewScanner(out); value == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), host.EnvReattach+"='"); ok {
			value = strings.TrimSuffix(after, "'")
		}
	}
	found, err := host.Reattach(value)
	if err != nil || found["action.hello"] == nil {
		t.Fatalf("Reattach(%q) = %v, %v", value, found, err)
	}
	for range 2 { // a core that comes, goes and comes again
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig: host.Handshake, Plugins: host.PluginSets()[1], Reattach: found["action.hello"],
			AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
		})
		p, err := host.Dispense(client)
		if err != nil {
			t.Fatal(err)
		}
		configure(t, p, map[string]cty.Value{"greeting": cty.NullVal(cty.String), "fail": cty.NullVal(cty.String)})
		if err := p.Notify(t.Context(), sdktest.Event()); err != nil {
			t.Fatal(err)
		}
		if err := p.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := waitExit(t, cmd, 10*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// BenchmarkLaunch is from the start of a process to the answer of the first
// call, as the core launches plugins.
func BenchmarkLaunch(b *testing.B) {
	for b.Loop() {
		p, client, err := dispense(command(b, "hello"), io.Discard)
		if err == nil {
			_, err = p.Describe(b.Context())
		}
		client.Kill()
		if err != nil {
			b.Fatal(err)
		}
	}
}

package plugin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// sdkProgram returns the path of testdata/sdkplugin.
func sdkProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "action-sdkplugin")
	if err := os.Symlink(built(t, "sdkplugin"), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A plugin made with the SDK: its log lines come with level and fields, what
// it prints is no harm, and it is drained before it exits.
func TestSDKPlugin(t *testing.T) {
	noTrace(t)
	path := sdkProgram(t)
	log, text := newLog()
	i := NewInstance(Config{
		Spec: Spec{Kind: "action", Name: "sdkplugin", Instance: "test", Path: path, RuntimeDir: runtimeDir(t), Logger: log, StartTimeout: patience},
		Hooks: Hooks{
			Configure: func(ctx context.Context, p *Process) error {
				_, diags, err := p.Host().Configure(ctx, host.ConfigureRequest{
					Value: cty.ObjectVal(map[string]cty.Value{"greeting": cty.StringVal("good day")}), Instance: "test", Mode: "run",
				})
				if err != nil {
					return err
				}
				return diags.Err()
			},
		},
	})
	i.Start()
	defer i.Stop(context.Background())
	for _, want := range []string{`structured words`, `greeting="good day" n=5`, "words on stdout", "words of package log"} {
		eventually(t, "the log has "+want, func() bool { return strings.Contains(text.String(), want) })
	}
	waitState(t, i, Running)
	within(t, "stopping", func() { i.Stop(context.Background()) })
	got := text.String()
	for _, want := range []string{"closed in order", "plugin stopped", `how="exit code 0"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(got, "plugin_instance") {
		t.Errorf("the instance is told twice:\n%s", got)
	}
	if strings.Count(got, "[ERROR]") != 1 || strings.Count(got, "[WARN]") != 1 || strings.Contains(got, "left out") {
		t.Errorf("log:\n%s", got)
	}
}

func TestSDKDescribe(t *testing.T) {
	about, err := Describe(context.Background(), sdkProgram(t))
	if err != nil {
		t.Fatal(err)
	}
	if about.Version != "3.2.1" || about.Kind != "action" || len(about.Schema.Attributes) != 1 || about.Schema.Attributes[0].Name != "greeting" {
		t.Errorf("%+v", about)
	}
}

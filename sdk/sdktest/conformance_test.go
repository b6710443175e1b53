package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Plugins that break the contract, one way each, and what the suite must say.
// Each runs in a process of its own, whose failure is what is wanted.

type config struct{}

type action struct {
	notify func(ctx context.Context) error
	close  func() error
}

func (a *action) Notify(ctx context.Context, _ sdk.Event) error { return a.notify(ctx) }

func (a *action) Close(context.Context) error {
	if a.close != nil {
		return a.close()
	}
	return nil
}

func notifier(a action) sdk.Plugin {
	return sdk.Plugin{
		Name: "bad", Version: "1", Summary: "breaks the contract",
		Notifier: sdk.NewNotifier(config{}, func(config, sdk.Env) (*action, error) { return &a, nil }),
	}
}

type meddler struct{}

func (meddler) NewWorker() (sdk.Judge, error) { return meddler{}, nil }
func (meddler) Judge(batch []traffic.Record) error {
	for i := range batch {
		batch[i].Packets = 0
	}
	return nil
}

type deaf struct{}

func (deaf) Run(context.Context, *sdk.Writer) error {
	time.Sleep(2500 * time.Millisecond)
	return nil
}

var bad = map[string]struct {
	plugin func() sdk.Plugin
	config string
	want   string
}{
	"prints": {func() sdk.Plugin {
		return notifier(action{notify: func(context.Context) error { fmt.Println("hello"); return nil }})
	}, "", "printed to standard output"},
	"leaks": {func() sdk.Plugin {
		return notifier(action{notify: func(context.Context) error { go func() { select {} }(); return nil }})
	}, "", "goroutines left behind"},
	"panics": {func() sdk.Plugin {
		return notifier(action{notify: func(context.Context) error { panic("boo") }})
	}, "", "the plugin panicked: boo"},
	"close fails": {func() sdk.Plugin {
		return notifier(action{notify: func(context.Context) error { return nil }, close: func() error { return errors.New("stuck") }})
	}, "", "closing: stuck"},
	"no summary": {func() sdk.Plugin {
		p := notifier(action{notify: func(context.Context) error { return nil }})
		p.Summary = ""
		return p
	}, "", "Plugin.Summary is empty"},
	"config refused": {func() sdk.Plugin {
		return notifier(action{notify: func(context.Context) error { return nil }})
	}, "x = 1", "config does not fit the schema"},
	"meddles": {func() sdk.Plugin {
		return sdk.Plugin{
			Name: "bad", Version: "1", Summary: "meddles",
			Filter: sdk.NewFilter(config{}, func(config, sdk.Env) (meddler, error) { return meddler{}, nil }),
		}
	}, "", "changed more than verdict, class and sampling"},
	"ignores its context": {func() sdk.Plugin {
		return sdk.Plugin{
			Name: "bad", Version: "1", Summary: "deaf",
			Capture: sdk.NewCapture(config{}, func(config, sdk.Env) (deaf, error) { return deaf{}, nil }),
		}
	}, "", "want at most 2s"},
	"returns an interface": {func() sdk.Plugin {
		return sdk.Plugin{
			Name: "bad", Version: "1", Summary: "hides",
			Notifier: sdk.NewNotifier(config{}, func(config, sdk.Env) (sdk.Notifier, error) { return nil, nil }),
		}
	}, "", "build returns the interface sdk.Notifier"},
	"two factories": {func() sdk.Plugin {
		p := notifier(action{})
		p.Filter = sdk.NewFilter(config{}, func(config, sdk.Env) (meddler, error) { return meddler{}, nil })
		return p
	}, "", "set exactly one of"},
}

const envBad = "SDKTEST_BAD_PLUGIN"

func TestBadPlugin(t *testing.T) {
	c, ok := bad[os.Getenv(envBad)]
	if !ok {
		return // run by TestSuiteFindsFaults only
	}
	sdktest.Conformance(t, c.plugin(), c.config)
}

func TestSuiteFindsFaults(t *testing.T) {
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBadPlugin$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), envBad+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("the suite ended with %v and does not say %q:\n%s", err, c.want, out)
			}
		})
	}
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChecksum(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "good")
	spec.SHA256 = make([]byte, 32)
	_, err := Launch(context.Background(), spec)
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("error %v", err)
	}
}

func TestRelativePath(t *testing.T) {
	spec, _ := stubSpec(t, "good")
	t.Chdir(filepath.Dir(spec.Path))
	path := filepath.Base(spec.Path)
	if _, err := Describe(context.Background(), path); err != nil {
		t.Error(err)
	}
	spec.Path = path
	if _, err := Launch(context.Background(), spec); err == nil || !strings.Contains(err.Error(), "must be absolute") {
		t.Errorf("error %v", err)
	}
}

// A program that is a script runs too, with its interpreter.
func TestScript(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "script")
	if err := os.Remove(spec.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec.Path, []byte("#!/bin/sh\necho hello from a script\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Launch(context.Background(), spec)
	if err == nil || !strings.Contains(err.Error(), "hello from a script") {
		t.Errorf("error %v", err)
	}
}

func TestLaunchFailures(t *testing.T) {
	for _, c := range []struct {
		behaviour string
		want      []string
	}{
		{"garbage", []string{"Loading modules, please wait", "stdout before the handshake"}},
		{"longline", []string{"not a plugin of this program"}},
		{"exits", []string{"exit code 3", "cannot read /etc/stub.conf"}},
		{"silent", []string{"exit code 0", "not a plugin of this program", "wrote nothing"}},
		{"elsewhere", []string{"does not listen in the directory"}},
		{"newer", []string{"version 7 of the plugin contract, this program version 1", "update this program"}},
		{"lies", []string{"version 2 of the plugin contract, this program version 1"}},
		{"misnamed", []string{`capture "other", not capture "misnamed"`}},
		{"describepanics", []string{"did not describe itself", "no description today"}},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			noTrace(t)
			spec, log := stubSpec(t, c.behaviour)
			var err error
			within(t, "failing", func() { err = launchFails(t, spec) })
			for _, want := range append(c.want, "capture", spec.Path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if log.count("[ERROR]") > 0 {
				t.Errorf("an error is told twice:\n%s", log)
			}
		})
	}
}

func launchFails(t *testing.T, spec Spec) error {
	t.Helper()
	p, err := Launch(context.Background(), spec)
	if err == nil {
		p.Stop(context.Background())
		t.Fatal("it was launched")
	}
	return err
}

// A launch that hangs ends with the time that it was given.
func TestLaunchTimeout(t *testing.T) {
	for behaviour, want := range map[string]string{
		"mute":          "did not complete the handshake: %s; likely it is not a plugin of this program, or it hangs before the handshake",
		"describehangs": "was launched but did not describe itself: %s",
		"stopsearly":    "was launched but did not describe itself: %s",
	} {
		t.Run(behaviour, func(t *testing.T) {
			noTrace(t)
			spec, _ := stubSpec(t, behaviour)
			// Short, but on a busy machine long enough to get where it hangs.
			for spec.StartTimeout = 500 * time.Millisecond; spec.StartTimeout < patience; spec.StartTimeout *= 4 {
				text := fmt.Sprintf(want, fmt.Sprintf("no answer within %s", spec.StartTimeout))
				start := time.Now()
				err := launchFails(t, spec)
				if took := time.Since(start); took < spec.StartTimeout {
					t.Fatalf("given up after %s: %v", took, err)
				}
				if strings.Contains(err.Error(), text) {
					return
				}
				t.Log(err)
			}
			t.Errorf("the error never says %q", want)
		})
	}
}

func TestLaunchCancelled(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "mute")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	within(t, "giving up", func() {
		if _, err := Launch(ctx, spec); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestNotAProgram(t *testing.T) {
	noTrace(t)
	for name, content := range map[string]string{"wrong architecture": "\x7fELF\x02\x01\x01", "no interpreter": "#!/no/such/interpreter\n"} {
		spec, _ := stubSpec(t, "bad")
		if err := os.Remove(spec.Path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(spec.Path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Launch(context.Background(), spec)
		if err == nil || !strings.Contains(err.Error(), "cannot start "+spec.Path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a block costs to start, from exec to its answer to Describe.
func BenchmarkLaunch(b *testing.B) {
	for kind, path := range map[string]string{"capture": stubProgram(b, "good"), "action": sdkProgram(b)} {
		_, name, _ := strings.Cut(filepath.Base(path), "-")
		b.Run(name, func(b *testing.B) {
			spec := Spec{Kind: kind, Name: name, Instance: "bench", Path: path, RuntimeDir: runtimeDir(b)}
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			for b.Loop() {
				p, err := Launch(context.Background(), spec)
				if err != nil {
					b.Fatal(err)
				}
				if p.Description().Name != name {
					b.Fatal("wrong plugin")
				}
				b.StopTimer()
				p.Kill()
				p.Stop(gone)
				b.StartTimer()
			}
		})
	}
}

package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

// The test binary is also a core, which TestCoreKilled kills and TestCorePaused
// pauses.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "watching" {
		watching(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "intermediate" {
		os.Exit(intermediate(os.Args[2], os.Args[3]))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(builtDir)
		os.Exit(code)
	}))
}

// intermediate is a core with a guard that launches one plugin, tells its id and
// those of what it has started, and hangs.
func intermediate(path, dir string) int {
	StartGuard(hclog.NewNullLogger())
	p, err := Launch(context.Background(), Spec{
		Kind: "capture", Name: "grandchild", Instance: "test", Path: path, RuntimeDir: dir, StartTimeout: patience,
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := p.Host().Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	for len(grandchildren(p)) < 2 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(p.PID(), grandchildren(p)[0], grandchildren(p)[1])
	time.Sleep(time.Hour)
	return 0
}

// watching is a core that keeps one plugin alive until its input ends, and says
// when that runs and at last how often it was launched.
func watching(path, dir string) {
	running := make(chan struct{}, 1)
	i := NewInstance(Config{
		Spec:          Spec{Kind: "capture", Name: "good", Instance: "test", Path: path, RuntimeDir: dir, StartTimeout: patience},
		WatchInterval: pausedInterval,
		Hooks: Hooks{Running: func(*Process) {
			select {
			case running <- struct{}{}:
			default:
			}
		}},
	})
	i.Start()
	<-running
	fmt.Println("running")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(i.Status().Launches)
	i.Stop(context.Background())
}

// pausedInterval is between two words of health to the core that is paused.
const pausedInterval = 200 * time.Millisecond

var builtDir string // "" until something was built

// The plugins of testdata, built once for all tests: into builtDir, by their
// folders' names.
var build = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "fnmbuilt")
	if err != nil {
		return err
	}
	builtDir = dir
	cmd := exec.Command("go", "build", "-o", dir, "./testdata/stub", "./testdata/sdkplugin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

func built(t testing.TB, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(builtDir, name)
}

// stubProgram returns the path of a stub with this behaviour.
func stubProgram(t testing.TB, behaviour string) string {
	t.Helper()
	name := "capture-" + behaviour
	return filepath.Join(pluginDir(t, name), name)
}

// pluginDir is a directory with stubs of these names.
func pluginDir(t testing.TB, programs ...string) string {
	t.Helper()
	stub, dir := built(t, "stub"), t.TempDir()
	for _, program := range programs {
		if err := os.Symlink(stub, filepath.Join(dir, program)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

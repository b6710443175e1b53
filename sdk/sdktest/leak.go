package sdktest

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakTime is how long goroutines may take to end after the plugin was closed.
const leakTime = 3 * time.Second

// goroutines maps the id of each goroutine to its stack.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	out := map[string]string{}
	for _, stack := range strings.Split(string(buf), "\n\n") {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		out[id] = stack
	}
	return out
}

// checkLeaks wants all goroutines that were not there before to end. Those of
// the runtime and of the testing package come and go as they like.
func checkLeaks(t *testing.T, before map[string]string) {
	t.Helper()
	deadline := time.Now().Add(leakTime)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		var left []string
		for id, stack := range goroutines() {
			if _, old := before[id]; !old && !strings.Contains(stack, "sdktest.goroutines(") && !strings.Contains(stack, "sdktest.watchStdout.") &&
				!strings.Contains(stack, "testing.(*T).Run(") && !strings.Contains(stack, "os/signal.") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("goroutines left behind by the plugin:\n\n%s", strings.Join(left, "\n\n"))
			return
		}
		time.Sleep(wait)
	}
}

package plugin

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// envGoLimit tells programs written in Go how much memory they should use
// (runtime/debug.SetMemoryLimit).
const envGoLimit = "GOMEMLIMIT"

// bound is the memory limit of one process and what holds it to it: a cgroup,
// which counts what the process and its children use, or else ourselves, who
// look at the process alone.
type bound struct {
	limit uint64 // octets
	group *group // nil: the process alone is watched
	over  bool   // the kernel ended it for its limit; known once it has ended
}

// newBound prepares the limit of a process that is about to start; nil means
// none.
func newBound(limit uint64, name string, log hclog.Logger) *bound {
	if limit == 0 {
		return nil
	}
	b := &bound{limit: limit}
	if privateMemory(os.Getpid()) == 0 {
		log.Warn("process.memory has no effect on this system", "limit", sizeText(limit))
		return nil
	}
	tree, why := delegation()
	if tree == nil {
		log.Debug("memory is limited for the plugin's own process, not for its children", "because", why)
		return b
	}
	group, err := tree.add(name, limit)
	if err != nil {
		log.Warn("memory is limited for the plugin's own process, not for its children", "error", err)
		return b
	}
	b.group = group
	return b
}

// String says what holds, for the log.
func (b *bound) String() string {
	if b.group != nil {
		return sizeText(b.limit) + " by cgroup"
	}
	return sizeText(b.limit) + " by process"
}

// take moves a running process into the cgroup, or does without.
func (b *bound) take(pid int) {
	if b.group.take(pid) != nil {
		_ = b.group.remove() // nobody is in it
		b.group = nil
	}
}

// environment leaves Go's garbage collector room to keep within the limit,
// unless the block says how much itself.
func (b *bound) environment(own map[string]string) []string {
	if b == nil || own[envGoLimit] != "" {
		return nil
	}
	return []string{fmt.Sprintf("%s=%d", envGoLimit, b.limit/10*9)}
}

// What programs say when the system gives them no more memory: Go, C++, Python
// and others.
var outOfMemory = []string{"out of memory", "annot allocate memory", "bad_alloc", "MemoryError"}

// exceeded tells whether an ended process was ended by its limit, though not by
// us. Of a cgroup the kernel says it. Of a process it goes by the program's last
// words, since it may have asked for too much at once.
func (b *bound) exceeded(exit *Exit) bool {
	if b == nil {
		return false
	}
	if b.group != nil || exit.Code == 0 {
		return b.over
	}
	words := exit.trace() + "\n" + exit.tail()
	for _, text := range outOfMemory {
		if strings.Contains(words, text) {
			return true
		}
	}
	return false
}

// err is why a process that has met its limit is gone.
func (b *bound) err() error { return fmt.Errorf("out of memory limit %s", sizeText(b.limit)) }

// memoryEvery is between two looks at what a process uses, where no cgroup
// counts it.
const memoryEvery = 100 * time.Millisecond

// watch looks at what a process uses until that has ended or is more than the
// limit, which it returns true for.
func (b *bound) watch(c *child) (exceeded bool) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return false
		case <-tick.C:
			if privateMemory(c.pid) > b.limit {
				return true
			}
		}
	}
}

// privateMemory is what a process alone holds in memory, in octets; 0 where
// that is not known. Rings, which are shared, are not in it.
func privateMemory(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // proc_pid_statm(5)
	if err != nil {
		return 0
	}
	var size, resident, shared uint64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil || shared > resident {
		return 0
	}
	return (resident - shared) * uint64(os.Getpagesize())
}

// end is called when the process has ended, or was not started. Nothing that is
// in the cgroup stays alive.
func (b *bound) end(log hclog.Logger) {
	if b == nil || b.group == nil {
		return
	}
	b.over = b.group.killed()
	if err := b.group.remove(); err != nil {
		log.Warn("the cgroup of an ended plugin cannot be removed", "error", err)
	}
}

// sizeText writes octets as configurations do.
func sizeText(n uint64) string {
	for _, unit := range []struct {
		octets uint64
		name   string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.octets && n%unit.octets == 0 {
			return fmt.Sprintf("%d%s", n/unit.octets, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// yieldMemory has the system, when it runs out of memory, end plugins rather
// than the core.
func yieldMemory(pid int) {
	const more = 300
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	ours := 0
	if _, err := fmt.Sscan(string(text), &ours); err != nil {
		return
	}
	// Where it may not be changed, the largest process is chosen as ever.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, min(1000, ours+more)), 0)
}

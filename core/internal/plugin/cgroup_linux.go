package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// coreGroup is the child that holds this program: a cgroup that gives limits to
// its children may have no processes of its own (cgroups(7)).
const coreGroup = "core"

// groupPrefix is how the cgroups of plugins are called.
const groupPrefix = "plugin-"

// tree is the part of the cgroup hierarchy that was handed to us.
type tree struct {
	dir string
	n   atomic.Uint64
}

// delegation returns the tree, or why there is none. It is looked for when the
// first plugin has a limit: without limits nothing is moved.
var delegation = sync.OnceValues(func() (*tree, string) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err.Error()
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err.Error()
	}
	dir, err := ownGroup(string(self), string(mounts))
	if err != nil {
		return nil, err.Error()
	}
	base, err := delegated(dir)
	if err != nil {
		return nil, err.Error()
	}
	t, err := openTree(base)
	if err != nil {
		return nil, err.Error()
	}
	return t, ""
})

// ownGroup finds this process's cgroup from /proc/self/cgroup and
// /proc/self/mountinfo (proc_pid_mountinfo(5)).
func ownGroup(self, mounts string) (string, error) {
	path := ""
	for line := range strings.Lines(self) {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			path = strings.TrimSpace(rest)
		}
	}
	if path == "" {
		return "", errors.New("this system has no cgroup v2")
	}
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if rel, err := filepath.Rel(fields[3], path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return filepath.Join(fields[4], rel), nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted")
}

// delegated returns the cgroup that a service manager has handed to us: ours,
// or its parent where the manager has put us into a child (DelegateSubgroup=).
// A cgroup that we may merely write, as root may any, is not ours.
func delegated(dir string) (string, error) {
	for _, candidate := range []string{filepath.Dir(dir), dir} {
		if handedOver(candidate) {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("the cgroup %s is not delegated to this program (Delegate=yes)", dir)
}

func handedOver(dir string) bool {
	value := make([]byte, 8)
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() == 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid() && unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}

// openTree makes a cgroup one that gives memory limits to its children.
func openTree(dir string) (*tree, error) {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return nil, fmt.Errorf("the cgroup %s has no memory controller", dir)
	}
	core := filepath.Join(dir, coreGroup)
	if err := os.Mkdir(core, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// Plugins that run already have no limit and stay with us.
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	for _, pid := range strings.Fields(string(procs)) {
		if err := write(core, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, err
		}
	}
	if err := write(dir, "cgroup.subtree_control", "+memory"); err != nil {
		return nil, err
	}
	t := &tree{dir: dir}
	t.sweep()
	return t, nil
}

// sweep removes the cgroups that a killed core has left empty.
func (t *tree) sweep() {
	left, _ := filepath.Glob(filepath.Join(t.dir, groupPrefix+"*")) // the pattern is well-formed
	for _, dir := range left {
		_ = unix.Rmdir(dir) // it may be in use, by a plugin of another process of ours
	}
}

// group is the cgroup of one plugin process and all its children.
type group struct {
	dir  string
	file *os.File
}

// add makes the cgroup for a process that is about to start.
func (t *tree) add(name string, limit uint64) (*group, error) {
	dir := filepath.Join(t.dir, fmt.Sprintf("%s%s-%d-%d", groupPrefix, name, os.Getpid(), t.n.Add(1)))
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	g := &group{dir: dir}
	err := write(dir, "memory.max", strconv.FormatUint(limit, 10))
	if err == nil {
		// Neither file need be there: swap may be off, and the kernel older
		// than 4.19.
		_ = write(dir, "memory.swap.max", "0")
		_ = write(dir, "memory.oom.group", "1")
		g.file, err = os.Open(dir)
	}
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// killed tells whether the kernel ended a process of the cgroup for its limit.
func (g *group) killed() bool {
	events, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok && strings.TrimSpace(n) != "0" {
			return true
		}
	}
	return false
}

// removeLimit is how long the kernel may take to empty a cgroup whose processes
// were killed.
const removeLimit = time.Second

// remove ends every process in the cgroup, also those that have left the
// process group, and the cgroup itself.
func (g *group) remove() error {
	if g.file != nil {
		g.file.Close()
	}
	_ = write(g.dir, "cgroup.kill", "1") // since Linux 5.14; without it, what has left the group stays
	for end := time.Now().Add(removeLimit); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Rmdir(g.dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("%s: %w", g.dir, err)
		}
	}
}

// write writes one word to a control file, all at once. Where there is no such
// file a cgroup's file system makes none.
func write(dir, name, word string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(bytes.TrimSpace([]byte(word)))
	return err
}

// into has a process begin its life in the cgroup.
func (g *group) into(attributes *syscall.SysProcAttr) {
	if g != nil {
		attributes.UseCgroupFD, attributes.CgroupFD = true, int(g.file.Fd())
	}
}

// take moves a process into the cgroup.
func (g *group) take(pid int) error { return write(g.dir, "cgroup.procs", strconv.Itoa(pid)) }

// slack is what programs map and do not use: heap arenas, stacks of threads.
const slack = 1 << 30

// limitData bounds the private memory that a running process and its later
// children may map, each for itself, to what is far too much.
func limitData(pid int, limit uint64) error {
	limit = 2*limit + slack
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil)
}

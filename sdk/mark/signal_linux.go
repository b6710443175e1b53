package mark

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxEnvironment is more than the environment of a process can have by default
// (a quarter of a stack of 8 MiB, execve(2)).
const maxEnvironment = 4 << 20

// Signal sends a signal to every process whose environment has an entry that
// begins with prefix, and tells how many there are. Signal 0 only counts. A
// process whose environment this one may not read is not found.
func Signal(prefix string, sig syscall.Signal) (n int) {
	if prefix == "" {
		return 0 // it would be everybody
	}
	processes, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer processes.Close()
	names, _ := processes.Readdirnames(-1) // what could be read counts
	var environment bytes.Buffer
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() && signal(pid, []byte(prefix), sig, &environment) {
			n++
		}
	}
	return n
}

// signal sends sig to a process if it has the mark.
func signal(pid int, prefix []byte, sig syscall.Signal, environment *bytes.Buffer) bool {
	// It holds on to the process: the number may be another's any time.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return false // it is gone, or is a thread
	}
	if err == nil {
		defer unix.Close(fd)
	}
	if !has(pid, prefix, environment) {
		return false
	}
	if err != nil { // before Linux 5.3
		return unix.Kill(pid, sig) == nil
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}

// has tells whether the environment that a process was started with has the
// mark. That of a zombie is empty.
func has(pid int, prefix []byte, environment *bytes.Buffer) bool {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	defer f.Close()
	environment.Reset()
	if _, err := environment.ReadFrom(io.LimitReader(f, maxEnvironment)); err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(environment.Bytes(), []byte{0}) {
		if bytes.HasPrefix(entry, prefix) {
			return true
		}
	}
	return false
}

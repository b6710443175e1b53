//go:build 386 || amd64 || arm64 || loong64 || ppc64le || riscv64

package ring

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

const (
	futexOpWait = 0 // FUTEX_WAIT, shared between processes
	futexOpWake = 1 // FUTEX_WAKE
)

// createMemory makes an anonymous file of size bytes that can neither shrink
// nor grow (so that no peer can make an access fault) and maps it.
func createMemory(name string, size int) (*os.File, *mapping, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ring %s: create shared memory: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), "memfd:"+name)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ring %s: size shared memory to %d bytes: %w", name, size, err), f.Close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ring %s: seal shared memory: %w", name, err), f.Close())
	}
	m, err := mapMemory(fd, size, unix.MAP_POPULATE)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ring %s: %w", name, err), f.Close())
	}
	return f, m, nil
}

// openMemory maps a ring that somebody else made, after checking that it can
// neither shrink nor grow. The file stays the caller's.
func openMemory(f *os.File) (*mapping, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open ring: %w", err)
	}
	var m *mapping
	var inner error
	err = rc.Control(func(fd uintptr) {
		var st unix.Stat_t
		var have int
		if inner = unix.Fstat(int(fd), &st); inner != nil {
			return
		}
		if have, inner = unix.FcntlInt(fd, unix.F_GET_SEALS, 0); inner != nil {
			inner = fmt.Errorf("not a sealed memory file: %w", inner)
			return
		}
		if have&seals != seals {
			inner = fmt.Errorf("the memory file is not sealed against resizing (seals %#x, want %#x)", have, seals)
			return
		}
		if st.Size < headerSize || st.Size > headerSize+MaxCapacity*DeltaSize {
			inner = fmt.Errorf("the memory file has %d bytes, which no ring has", st.Size)
			return
		}
		m, inner = mapMemory(int(fd), int(st.Size), 0)
	})
	if err = errors.Join(err, inner); err != nil {
		return nil, fmt.Errorf("open ring: %w", err)
	}
	return m, nil
}

func mapMemory(fd, size, flags int) (*mapping, error) {
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of shared memory: %w", size, err)
	}
	return &mapping{mem: mem}, nil
}

func unmapMemory(mem []byte) {
	// The slice is what Mmap returned, so there is nothing that can fail.
	_ = unix.Munmap(mem)
}

// futexWait sleeps while the word holds seen, at most for d. It may return
// early for no reason.
func futexWait(word *atomic.Uint32, seen uint32, d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	// Every result means the same to the caller: look again.
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexOpWait, uintptr(seen),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// futexWake wakes one sleeper on the word.
func futexWake(word *atomic.Uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexOpWake, 1, 0, 0, 0)
}

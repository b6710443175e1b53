package udp

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharePort lets several sockets of one program have the same port.
func sharePort(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// receiveBuffer asks for a receive buffer and returns what was granted. With
// CAP_NET_ADMIN the system's limit does not hold. The kernel doubles what is
// asked for, for its bookkeeping, and tells the double (socket(7)).
func receiveBuffer(fd uintptr, asked int) int {
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, asked) != nil {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, asked) // what it did is read next
	}
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0
	}
	return n / 2
}

func bufferAdvice(asked int) string {
	return fmt.Sprintf("raise the limit (sysctl -w net.core.rmem_max=%d, and in /etc/sysctl.d to keep it), or give the plugin the capability CAP_NET_ADMIN", asked)
}

// overflow is what a socket has lost.
type overflow struct {
	mu    sync.Mutex
	last  uint32 // the kernel's counter when it was last read; it wraps
	total uint64
	told  uint64 // of total, by Overflow
	grown time.Time
	ended bool // the socket is closed
}

// Overflow returns how many datagrams the kernel has dropped at this socket
// since the last call: the counter that SO_RXQ_OVFL attaches to datagrams,
// read from the socket itself (SO_MEMINFO), so that it needs no further
// datagram to arrive. Several goroutines may call it; each loss is told once.
func (c *Conn) Overflow() uint64 {
	c.overflow.mu.Lock()
	defer c.overflow.mu.Unlock()
	c.count()
	lost := c.overflow.total - c.overflow.told
	c.overflow.told = c.overflow.total
	return lost
}

// Lost returns how many datagrams the kernel has dropped at this socket since
// it was opened, and how long ago that was noticed last; 0 and 0 if none.
func (c *Conn) Lost() (datagrams uint64, ago time.Duration) {
	c.overflow.mu.Lock()
	defer c.overflow.mu.Unlock()
	if c.count(); c.overflow.total > 0 {
		ago = max(1, time.Since(c.overflow.grown))
	}
	return c.overflow.total, ago
}

// count reads the kernel's counter; the caller holds the lock. Where it cannot
// be read nothing is counted.
func (c *Conn) count() {
	const index = 8 // SK_MEMINFO_DROPS of linux/sock_diag.h
	if c.overflow.ended {
		return
	}
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(c.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && size >= uint32(unsafe.Sizeof(info)) {
		if more := info[index] - c.overflow.last; more > 0 {
			c.overflow.total += uint64(more)
			c.overflow.last, c.overflow.grown = info[index], time.Now()
		}
	}
}

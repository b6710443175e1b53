package udp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// minPause is the shortest wait for company: the runtime's timers wake no
	// finer than a millisecond.
	minPause = time.Millisecond
	// gather is how many datagrams a pause is for: more would have left the
	// processor's cache when they are read.
	gather = 256
	// truesize is what a datagram of a full Ethernet frame takes of the
	// receive buffer, in octets: data and the kernel's own bookkeeping.
	truesize = 2304
	// burst is the rate, in datagrams a second, that may begin out of nothing
	// and still must fit the receive buffer during a wait.
	burst = 200e3
	// stride is the distance of a batch's buffers. A multiple of a page would
	// map the beginnings of all datagrams to the same cache lines.
	stride = MaxDatagram + 1 + 1536
)

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// receiver is what a Conn needs to receive with recvmmsg(2). Its socket is not
// among those that Go's runtime polls: that would wake a thread for each
// datagram, whether somebody waits for it or not.
type receiver struct {
	fd   int
	wake *os.File // eventfd(2): something else happened
	poll [2]unix.PollFd

	inUse  sync.Mutex // while a Receive is under way
	closed atomic.Bool
	ended  chan struct{} // closed by Close

	msgs  []mmsghdr
	iovs  []unix.Iovec
	names []unix.RawSockaddrInet6 // an IPv4 address fits
	buf   []byte
	out   []Datagram

	pace
	overflow overflow
}

// pace says how long the next drain is put off, so that a moderate rate costs
// few wake-ups: until about target datagrams are there.
type pace struct {
	timer    *time.Timer
	longest  time.Duration // no pause is longer
	pause    time.Duration // before the next drain; 0 none
	target   float64       // datagrams
	drained  bool          // the last batch was not full: the socket was empty
	received int           // datagrams since the last time it was
	since    time.Time     // that time
}

// init takes the socket out of the runtime's hands: closing its descriptor
// takes it off the poller's list, and a copy lives on.
func (c *Conn) init(conn *net.UDPConn, o Options) error {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { c.fd, inner = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, inner); err != nil {
		return err
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(c.fd)
		return fmt.Errorf("eventfd: %w", err)
	}
	c.wake = os.NewFile(uintptr(fd), "wake")
	c.poll = [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(c.fd), Events: unix.POLLIN}}
	c.prepare(o.Batch)
	room := float64(2*c.granted) / truesize
	c.target = max(1, min(room/8, gather))
	c.longest = min(o.Coalesce, time.Duration(room/burst*float64(time.Second)))
	c.pause, c.since = c.longest, time.Now()
	c.timer = time.NewTimer(time.Hour)
	c.timer.Stop()
	c.ended = make(chan struct{})
	return nil
}

// prepare makes room for n datagrams.
func (c *Conn) prepare(n int) {
	c.msgs, c.iovs, c.names = make([]mmsghdr, n), make([]unix.Iovec, n), make([]unix.RawSockaddrInet6, n)
	c.buf, c.out = make([]byte, n*stride), make([]Datagram, n)
	for i := range c.msgs {
		c.iovs[i].Base = &c.buf[i*stride]
		c.iovs[i].SetLen(MaxDatagram)
		h := &c.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&c.names[i])) // recvmmsg(2): where the kernel puts a struct sockaddr
		h.Iov = &c.iovs[i]
		h.SetIovlen(1)
	}
}

// receive returns what there is, waiting for it if need be; an empty batch
// without an error means: once more, something else happened.
func (c *Conn) receive(ctx context.Context) ([]Datagram, error) {
	c.inUse.Lock()
	defer c.inUse.Unlock()
	if c.closed.Load() {
		return nil, c.failure(net.ErrClosed)
	}
	if c.drained && c.pause >= minPause { // let others join
		c.timer.Reset(c.pause)
		select {
		case <-c.timer.C:
		case <-ctx.Done():
			c.timer.Stop()
			return nil, ctx.Err()
		case <-c.ended:
			return nil, nil // the next try tells
		}
	}
	n, err := c.recvmmsg()
	if err != nil {
		return nil, c.failure(err)
	}
	c.drained = n < len(c.msgs)
	if n == 0 { // silence: sleep until somebody sends
		return nil, c.failure(c.sleep())
	}
	if c.received += n; c.drained {
		c.adapt()
	}
	return c.batch(n), nil
}

func (c *Conn) failure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("receiving on %s: %w", c.local, err)
}

// sleep waits until there is a datagram or something else has happened.
func (c *Conn) sleep() error {
	if _, err := unix.Ppoll(c.poll[:], nil, nil); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

// one is what an eventfd takes: 1 as a native 64-bit number.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// interrupt ends a sleep under way, or the next.
func (c *Conn) interrupt() { _, _ = c.wake.Write(one) } // full or closed: nobody sleeps

// calm lets sleeps last again.
func (c *Conn) calm() error {
	c.inUse.Lock()
	defer c.inUse.Unlock()
	if c.closed.Load() {
		return c.failure(net.ErrClosed)
	}
	var b [8]byte
	_, _ = unix.Read(int(c.poll[0].Fd), b[:]) // EAGAIN: it was calm
	return nil
}

// Close closes the socket and ends a Receive under way.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	close(c.ended)
	c.interrupt()
	c.inUse.Lock()
	defer c.inUse.Unlock()
	c.overflow.mu.Lock() // nobody reads its counter any more
	defer c.overflow.mu.Unlock()
	c.count()
	c.overflow.ended = true
	return errors.Join(unix.Close(c.fd), c.wake.Close())
}

// adapt chooses the next pause by the rate since the socket was last empty.
func (c *Conn) adapt() {
	now := time.Now()
	elapsed := now.Sub(c.since)
	c.pause = min(c.longest, time.Duration(float64(elapsed)*c.target/float64(max(1, c.received))))
	c.received, c.since = 0, now
}

// recvmmsg fetches what is there, up to a batch. It never blocks, and takes
// some 100 µs at most, so the scheduler need not know of it: it would take the
// processor away from a call of more than 20 µs, over and over.
func (c *Conn) recvmmsg() (int, error) {
	for i := range c.msgs {
		c.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&c.msgs[0])), uintptr(len(c.msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR, unix.ECONNREFUSED: // the latter tells of a datagram that was sent from this port
		default:
			return 0, errno
		}
	}
}

// batch turns what the kernel wrote into datagrams.
func (c *Conn) batch(n int) []Datagram {
	out := c.out[:n]
	for i := range out {
		m := &c.msgs[i]
		length := min(int(m.len), MaxDatagram)
		start := i * stride
		out[i] = Datagram{
			Data:      c.buf[start : start+length : start+stride],
			From:      addrPort(&c.names[i]),
			Truncated: m.hdr.Flags&unix.MSG_TRUNC != 0,
		}
	}
	return out
}

// addrPort reads a socket address. Zones are left out: they would cost an
// allocation, and nobody exports flows over link-local addresses.
func addrPort(name *unix.RawSockaddrInet6) netip.AddrPort {
	p := (*[2]byte)(unsafe.Pointer(&name.Port)) // network byte order; the same place in both families
	port := uint16(p[0])<<8 | uint16(p[1])
	if name.Family == unix.AF_INET {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(name)) // the family says which of the two it is
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
}

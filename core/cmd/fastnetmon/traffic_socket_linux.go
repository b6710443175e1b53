package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendBatch is how many datagrams one call gives to the kernel.
const sendBatch = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// udpSender sends datagrams to one address, many in a call.
type udpSender struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	iovs    [sendBatch]unix.Iovec
	msgs    [sendBatch]mmsghdr
	write   func(fd uintptr) bool
	from, n int
	err     error
	Refused uint64 // datagrams for which nobody listened, as far as we were told
}

func dialSender(to netip.AddrPort) (*udpSender, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, fmt.Errorf("send to %v: %w", to, err)
	}
	s := &udpSender{conn: conn}
	s.write = s.sendmmsg
	_ = conn.SetWriteBuffer(4 << 20) // what the kernel grants will do
	if s.raw, err = conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("send to %v: %w", to, err)
	}
	for i := range s.msgs {
		s.msgs[i].hdr.Iov = &s.iovs[i]
		s.msgs[i].hdr.SetIovlen(1)
	}
	return s, nil
}

func (s *udpSender) Close() error { return s.conn.Close() }

// Send sends at most sendBatch datagrams, and waits for room.
func (s *udpSender) Send(batch [][]byte) error {
	s.from, s.n = 0, len(batch)
	for i, b := range batch {
		s.iovs[i].Base = &b[0]
		s.iovs[i].SetLen(len(b))
	}
	for s.from < s.n {
		err := s.raw.Write(s.write)
		runtime.KeepAlive(batch)
		switch {
		case err != nil:
			return err
		case errors.Is(s.err, unix.ECONNREFUSED): // of an earlier one; this one was not tried
			s.Refused++
		case s.err != nil:
			return fmt.Errorf("send to %v: %w", s.conn.RemoteAddr(), s.err)
		}
	}
	return nil
}

func (s *udpSender) sendmmsg(fd uintptr) bool {
	s.err = nil
	for s.from < s.n {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.msgs[s.from])), uintptr(s.n-s.from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			s.from += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			s.err = errno
			return true
		}
	}
	return true
}

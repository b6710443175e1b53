//go:build unix

package main

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// maxDescriptors bounds how many descriptors ours looks at.
const maxDescriptors = 1 << 16

// ours reports whether the far end of a connection over the loopback
// interface is in this process: anybody on the machine may connect to a port.
func ours(conn *net.TCPConn) bool {
	want, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return false
	}
	near, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return false
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return false
	}
	for fd := range int(min(limit.Cur, maxDescriptors)) {
		if at(unix.Getsockname(fd)) == want && at(unix.Getpeername(fd)) == near {
			return true
		}
	}
	return false
}

// at is an IPv4 address of a socket.
func at(sa unix.Sockaddr, err error) netip.AddrPort {
	v4, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
}

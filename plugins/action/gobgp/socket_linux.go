package main

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ipv6MinHopCount is IPV6_MINHOPCOUNT of linux/in6.h.
const ipv6MinHopCount = 73

// dialOptions sets up the socket to a neighbour before it connects.
func (s *session) dialOptions(network, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error { return s.peer.socketOptions(fd, network) })
}

// accepted sets up the socket of a neighbour that has connected to us.
func (s *session) accepted(conn net.Conn) error {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, s.peer.hopLimits)
}

// socketOptions sets password and hop limits.
func (p *peerSettings) socketOptions(fd int, network string) error {
	if p.Password != "" {
		if err := signature(fd, p.address, p.Password, strings.HasSuffix(network, "6")); err != nil {
			return err
		}
	}
	return p.hopLimits(fd)
}

// hopLimits sets how far packets go, and may have come.
func (p *peerSettings) hopLimits(fd int) error {
	level, ttl, least := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
	if p.address.Is6() {
		level, ttl, least = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ipv6MinHopCount
	}
	switch {
	case p.TTLSecurity > 0:
		if err := unix.SetsockoptInt(fd, level, least, 256-int(p.TTLSecurity)); err != nil {
			return os.NewSyscallError("setsockopt (least TTL)", err)
		}
		return os.NewSyscallError("setsockopt (TTL)", unix.SetsockoptInt(fd, level, ttl, 255))
	case p.internal:
		return nil
	default:
		return os.NewSyscallError("setsockopt (TTL)", unix.SetsockoptInt(fd, level, ttl, max(1, int(p.Multihop))))
	}
}

// signature sets the password with which segments from and to addr are signed.
func signature(fd int, addr netip.Addr, password string, v6 bool) error {
	sig := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(sig.Key[:], password)
	if v6 {
		sig.Addr.Family = unix.AF_INET6
		a := addr.As16()
		copy(sig.Addr.Data[6:], a[:])
	} else {
		sig.Addr.Family = unix.AF_INET
		a := addr.As4()
		copy(sig.Addr.Data[2:], a[:])
	}
	return os.NewSyscallError("setsockopt (TCP MD5)", unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig))
}

// listenOptions gives a listener the passwords of passive neighbours.
func (s *speaker) listenOptions(network, _ string, c syscall.RawConn) error {
	v6 := strings.HasSuffix(network, "6")
	return control(c, func(fd int) error {
		for _, x := range s.sessions {
			if !x.peer.Passive || x.peer.Password == "" || x.peer.address.Is6() && !v6 {
				continue
			}
			if err := signature(fd, x.peer.address, x.peer.Password, v6); err != nil {
				return err
			}
		}
		return nil
	})
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

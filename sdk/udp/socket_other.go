//go:build !linux

package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sharePort lets several sockets of one program have the same port.
func sharePort(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// receiveBuffer asks for a receive buffer, for half of it where that is too
// much, and so on, and returns what was granted.
func receiveBuffer(fd uintptr, asked int) int {
	for n := asked; n > 0; n /= 2 {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n) == nil {
			break
		}
	}
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0
	}
	return n
}

func bufferAdvice(asked int) string {
	return fmt.Sprintf("raise the limit (sysctl kern.ipc.maxsockbuf=%d)", 2*asked)
}

// Overflow returns how many datagrams the kernel has dropped at this socket
// since the last call; this system does not tell.
func (c *Conn) Overflow() uint64 { return 0 }

// Lost returns how many datagrams the kernel has dropped at this socket since
// it was opened, and how long ago that was noticed last; this system does not
// tell.
func (c *Conn) Lost() (datagrams uint64, ago time.Duration) { return 0, 0 }

// receiver receives one datagram at a time.
type receiver struct {
	conn *net.UDPConn
	buf  []byte
	out  [1]Datagram
}

func (c *Conn) init(conn *net.UDPConn, _ Options) error {
	c.conn, c.buf = conn, make([]byte, MaxDatagram)
	return nil
}

// receive waits for a datagram; an empty batch without an error means: once
// more, something else happened.
func (c *Conn) receive(context.Context) ([]Datagram, error) {
	n, from, err := c.conn.ReadFromUDPAddrPort(c.buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		// Of a context that has ended, maybe an earlier one.
		return nil, c.calm()
	case err != nil:
		return nil, fmt.Errorf("receiving on %s: %w", c.local, err)
	}
	c.out[0] = Datagram{Data: c.buf[:n], From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	return c.out[:], nil
}

// interrupt ends a receive under way, or the next.
func (c *Conn) interrupt() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) }

// calm lets it last again.
func (c *Conn) calm() error { return c.conn.SetReadDeadline(time.Time{}) }

// Close closes the socket and ends a Receive under way.
func (c *Conn) Close() error { return c.conn.Close() }

package udp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendBatch is how many datagrams one system call sends at most.
const sendBatch = 64

var errFamily = errors.New("the exporter's address and the target are not of the same family (IPv4, IPv6), so its source cannot be kept")

// sender is what a target needs to send with sendmmsg(2).
type sender struct {
	conn  interface{ SetWriteDeadline(time.Time) error }
	raw   syscall.RawConn
	close func() error
	msgs  []mmsghdr
	iovs  []unix.Iovec // two for each: header and data
	heads []byte       // headroom octets for each
	name  []byte       // the target's socket address, for raw sockets

	from, n int // messages from … n are to be sent
	err     error
	write   func(fd uintptr) bool
}

// open makes the target's socket.
func (t *target) open() error {
	var err error
	if t.KeepSource {
		err = t.openRaw()
	} else {
		var c *net.UDPConn
		if c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(t.Target)); err == nil {
			t.conn, t.close = c, c.Close
			t.raw, err = c.SyscallConn()
		}
	}
	if err != nil {
		return err
	}
	t.msgs, t.iovs, t.heads = make([]mmsghdr, sendBatch), make([]unix.Iovec, 2*sendBatch), make([]byte, sendBatch*headroom)
	for i := range t.msgs {
		h := &t.msgs[i].hdr
		h.Iov = &t.iovs[2*i]
		h.SetIovlen(2)
		t.iovs[2*i].Base = &t.heads[i*headroom]
		if t.name != nil {
			h.Name, h.Namelen = &t.name[0], uint32(len(t.name))
		}
	}
	t.write = t.sendmmsg
	return nil
}

// openRaw makes a socket that takes whole packets (raw(7)).
func (t *target) openRaw() error {
	domain, network := unix.AF_INET, "ip4:udp"
	if t.Target.Addr().Is6() {
		domain, network = unix.AF_INET6, "ip6:udp"
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("keep_source needs a raw socket, and the system refuses it (%w): give the plugin the capability, process { capabilities = [\"CAP_NET_RAW\"] }, or remove keep_source", err)
	}
	file := os.NewFile(uintptr(fd), network)
	t.conn, t.close = file, file.Close
	if t.Target.Addr().Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: t.Target.Addr().As4()}
		t.name = append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))...)
	} else {
		sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: t.Target.Addr().As16()}
		t.name = append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))...)
	}
	t.raw, err = file.SyscallConn()
	return err
}

// hurry lets sending end at a time, whatever is left.
func (t *target) hurry(at time.Time) { _ = t.conn.SetWriteDeadline(at) }

func (t *target) shut() { _ = t.close() }

// send sends a batch and counts what became of it. It reports false when time
// is up.
func (t *target) send(batch []entry) bool {
	t.from, t.n = 0, 0
	for i := range batch {
		if e := &batch[i]; !t.prepare(t.n, e) {
			t.fail(errFamily)
			continue
		}
		t.n++
	}
	for t.from < t.n {
		err := t.raw.Write(t.write)
		runtime.KeepAlive(batch)
		switch {
		case err != nil: // the deadline of Close, or closed
			t.lost.Add(uint64(t.n - t.from))
			return false
		case errors.Is(t.err, unix.ECONNREFUSED):
			// Nobody listened when an earlier datagram came there; this one
			// was not tried yet.
			t.sent.Add(^uint64(0))
			t.fail(t.err)
		case t.err != nil:
			t.fail(t.err)
			t.from++
		}
	}
	return true
}

// prepare fills message i; false where its source cannot be kept.
func (t *target) prepare(i int, e *entry) bool {
	head := t.heads[i*headroom : i*headroom : (i+1)*headroom]
	switch {
	case t.KeepSource && e.from.Addr().Is4() != t.Target.Addr().Is4():
		return false
	case t.KeepSource:
		head = ipHeader(head, e.from, t.Target, e.data)
	case t.AddSource:
		head = proxyHeader(head, e.from, t.Target)
	}
	t.iovs[2*i].SetLen(len(head))
	data := &t.iovs[2*i+1]
	data.Base = nil
	if len(e.data) > 0 {
		data.Base = &e.data[0]
	}
	data.SetLen(len(e.data))
	return true
}

// sendmmsg sends what is left of the batch, as far as the socket takes it; it
// is called again when the socket can take more.
func (t *target) sendmmsg(fd uintptr) bool {
	t.err = nil
	for t.from < t.n {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&t.msgs[t.from])), uintptr(t.n-t.from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			t.from += int(n)
			t.sent.Add(uint64(n))
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default: // concerns the first message
			t.err = errno
			return true
		}
	}
	return true
}

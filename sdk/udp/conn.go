package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one socket. One goroutine receives from it at a time; its other
// methods may be called from any.
type Conn struct {
	local          netip.AddrPort
	asked, granted int
	done           <-chan struct{} // of the context that interrupts the receiver
	stop           func() bool
	arrived        atomic.Uint64 // datagrams
	newest         atomic.Int64  // when the last batch came, after began
	receiver
}

// began is the zero of the times in Conn.
var began = time.Now()

// Listen opens as many sockets as asked for on one address, such as
// "0.0.0.0:2055" or "[::]:2055"; the kernel spreads sources over them
// (SO_REUSEPORT, socket(7)), which is for one program only: an address that
// another one has is refused. An IPv6 socket takes IPv6 only. An error names
// the address, why it failed and what to do.
func Listen(address string, sockets int, o Options) ([]*Conn, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf(`listening on %q: write an IP address and a port, such as "0.0.0.0:2055" or "[::]:2055"`, address)
	}
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	o = o.complete()
	shared := sockets > 1
	if shared {
		// Sockets that share a port would share it with any other program of
		// the same user that does so too, each getting some of the exporters.
		probe, err := open(a, o, false)
		if err != nil {
			return nil, refused(a, err)
		}
		if a.Port() == 0 {
			a = probe.local
		}
		probe.Close()
	}
	var conns []*Conn
	for range max(1, sockets) {
		c, err := open(a, o, shared)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, refused(a, err)
		}
		a = c.local
		conns = append(conns, c)
	}
	return conns, nil
}

func (o Options) complete() Options {
	if o.ReceiveBuffer <= 0 {
		o.ReceiveBuffer = DefaultReceiveBuffer
	}
	if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	o.Batch = min(o.Batch, 1024) // the kernel's own limit (UIO_MAXIOV)
	if o.Coalesce == 0 {
		o.Coalesce = DefaultCoalesce
	}
	return o
}

// open binds one socket.
func open(a netip.AddrPort, o Options, shared bool) (*Conn, error) {
	c := &Conn{asked: o.ReceiveBuffer}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var inner error
		err := raw.Control(func(fd uintptr) {
			if shared {
				inner = sharePort(fd)
			}
			c.granted = receiveBuffer(fd, o.ReceiveBuffer)
		})
		return errors.Join(err, inner)
	}}
	network := "udp6" // takes IPv6 only
	if a.Addr().Is4() {
		network = "udp4"
	}
	pc, err := lc.ListenPacket(context.Background(), network, a.String())
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	c.local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	return c, c.init(conn, o)
}

// refused says what a failure to listen means.
func refused(a netip.AddrPort, err error) error {
	var what string
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		what = "another program has this port: stop it (\"ss -ulpn\" shows it), or listen on another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		what = "this machine does not have the address: use one that \"ip addr\" shows, or 0.0.0.0 or [::] for all"
	case errors.Is(err, syscall.EACCES):
		what = "ports below 1024 need the capability CAP_NET_BIND_SERVICE: give it to the plugin (process { capabilities = [...] }), or use a higher port"
	case errors.Is(err, syscall.EAFNOSUPPORT):
		what = "this machine has no IPv6: listen on an IPv4 address, such as 0.0.0.0"
	default:
		return fmt.Errorf("listening on %s: %w", a, err)
	}
	return fmt.Errorf("listening on %s: %s (%w)", a, what, err)
}

// Receive blocks until there are datagrams and returns a batch of them, at
// least one. What it returns is valid until the next call. When ctx ends it
// returns ctx's error, promptly; any other error is the socket's own and final
// (net.ErrClosed after Close).
func (c *Conn) Receive(ctx context.Context) ([]Datagram, error) {
	if ctx.Done() != c.done {
		// Only a change of context costs something.
		if c.stop != nil {
			c.stop()
		}
		if err := c.calm(); err != nil {
			return nil, err
		}
		c.done = ctx.Done()
		c.stop = context.AfterFunc(ctx, c.interrupt)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch, err := c.receive(ctx)
		if len(batch) > 0 {
			c.arrived.Add(uint64(len(batch)))
			c.newest.Store(int64(time.Since(began)))
		}
		if len(batch) > 0 || err != nil {
			return batch, err
		}
	}
}

// Received returns how many datagrams have been received, whatever is in them,
// and how long ago the last ones came; 0 and 0 if none has.
func (c *Conn) Received() (datagrams uint64, ago time.Duration) {
	if datagrams = c.arrived.Load(); datagrams > 0 {
		ago = time.Since(began) - time.Duration(c.newest.Load())
	}
	return datagrams, ago
}

// Granted returns the receive buffer asked for and the one granted, in octets
// as Options counts them: Linux itself reserves twice that, for its overhead.
func (c *Conn) Granted() (asked, granted int) { return c.asked, c.granted }

// Advice says what to change so that the whole receive buffer is granted; ""
// when it was.
func (c *Conn) Advice() string {
	if c.granted >= c.asked {
		return ""
	}
	return fmt.Sprintf("the kernel granted %s a receive buffer of %d octets instead of %d, so a burst may be lost: %s",
		c.local, c.granted, c.asked, bufferAdvice(c.asked))
}

// LocalAddr is the address the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

package udp

import (
	"errors"
	"net"
	"net/netip"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// maxListen bounds the addresses of one block.
const maxListen = 64

// CheckListen checks a list of addresses to receive on; for a plugin's
// Validate. The paths begin at the attribute "listen"; nil, the attribute left
// out, is good. usual is the port that devices send to unless told otherwise,
// and who names what they send: "sFlow usually goes".
func CheckListen(listen []netip.AddrPort, who string, usual netip.AddrPort) diag.Diagnostics {
	if listen == nil {
		return nil
	}
	at := diag.Path{}.Attr("listen")
	if n := len(listen); n == 0 || n > maxListen {
		return diag.Diagnostics{diag.Errorf(at, "Number of addresses out of range",
			`%d is not from 1 to %d. Name addresses and ports, such as listen = [%q], or leave it out.`, n, maxListen, usual)}
	}
	var ds diag.Diagnostics
	seen := map[netip.AddrPort]bool{}
	for i, a := range listen {
		switch {
		case a.Port() == 0 && !a.Addr().IsLoopback():
			ds = append(ds, diag.Errorf(at.Index(i), "No port", "%v names no port. %s to %d.", a, who, usual.Port()))
		case a.Port() != 0 && seen[a]:
			ds = append(ds, diag.Errorf(at.Index(i), "Address named twice", "%v stands above already. More sockets on one address come with workers.", a))
		}
		seen[a] = true
	}
	return ds
}

// ListenAll opens as many sockets as asked for on each address, in order, and
// logs what came of it. With optional, for addresses that nobody has named,
// those of IPv6 are passed over on a system without it: their sockets are nil.
// After an error nothing stays open.
func ListenAll(addresses []netip.AddrPort, optional bool, sockets int, o Options, log hclog.Logger) ([]*Conn, error) {
	var all []*Conn
	for _, a := range addresses {
		conns, err := Listen(a.String(), sockets, o)
		if err != nil && optional && a.Addr().Is6() && !haveIPv6() {
			log.Info("the system has no IPv6: listening on IPv4 only")
			all = append(all, make([]*Conn, sockets)...)
			continue
		}
		if err != nil {
			return nil, errors.Join(err, CloseAll(all))
		}
		all = append(all, conns...)
		if advice := conns[0].Advice(); advice != "" {
			log.Warn("the receive buffer is smaller than asked for", "address", a.String(), "advice", advice)
		}
		log.Info("listening", "address", conns[0].LocalAddr().String(), "sockets", len(conns))
	}
	return all, nil
}

// CloseAll closes sockets; nil ones are passed over.
func CloseAll(conns []*Conn) error {
	var errs []error
	for _, c := range conns {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// haveIPv6 reports whether an IPv6 socket can be made at all.
func haveIPv6() bool {
	l, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

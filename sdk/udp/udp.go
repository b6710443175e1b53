// Package udp receives datagrams in batches and passes them on. On Linux one
// system call fetches a whole batch (recvmmsg(2)) and nothing is allocated for
// it; other systems read one datagram at a time behind the same interface.
package udp

import (
	"net/netip"
	"time"
)

// What Options means where it says nothing.
const (
	DefaultReceiveBuffer = 8 << 20               // octets
	DefaultBatch         = 64                    // datagrams
	DefaultCoalesce      = 10 * time.Millisecond // wait for company
)

// MaxDatagram is the largest datagram that arrives whole, in octets: the
// largest UDP payload there is. A larger one is marked Truncated.
const MaxDatagram = 65535

// Options says how sockets receive. The zero value is good.
type Options struct {
	// ReceiveBuffer is what is asked of the kernel for each socket
	// (SO_RCVBUF), in octets; 0 asks for 8 MiB.
	ReceiveBuffer int
	// Batch is how many datagrams Receive returns at most; 0 means 64.
	Batch int
	// Coalesce is how long a receiver that had to wait for its first datagram
	// lets others join it, so that a moderate rate costs few wake-ups. A
	// socket whose batches come full never waits. 0 means 10 ms, a negative
	// value never waits.
	Coalesce time.Duration
}

// Datagram is one datagram as it arrived.
type Datagram struct {
	Data      []byte         // the payload, valid until the next Receive on the same Conn; what lies behind it up to its capacity is free to use
	From      netip.AddrPort // its source; an IPv4 address is never an IPv6-mapped one
	Truncated bool           // it was longer than MaxDatagram and lost its end
	// Exporter is for whoever forwards by exporter: the number, from 1, among
	// those that the plugin listens to; 0, as Receive leaves it, is none of
	// them.
	Exporter int
}

//go:build !linux

package udp

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// sendBatch is how many datagrams are taken from a queue at once.
const sendBatch = 64

// sender is what a target needs to send, one datagram at a time.
type sender struct {
	conn *net.UDPConn
	buf  []byte
}

// open makes the target's socket.
func (t *target) open() (err error) {
	if t.KeepSource {
		return errors.New("keep_source needs Linux: remove it, or write add_source = true instead")
	}
	t.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(t.Target))
	return err
}

// hurry lets sending end at a time, whatever is left.
func (t *target) hurry(at time.Time) { _ = t.conn.SetWriteDeadline(at) }

func (t *target) shut() { t.conn.Close() }

// send sends a batch and counts what became of it. It reports false when time
// is up.
func (t *target) send(batch []entry) bool {
	for i := range batch {
		data := batch[i].data
		if t.AddSource {
			t.buf = append(proxyHeader(t.buf, batch[i].from, t.Target), data...)
			data = t.buf
		}
		_, err := t.conn.Write(data)
		if errors.Is(err, syscall.ECONNREFUSED) { // an earlier datagram's; this one was not tried yet
			t.sent.Add(^uint64(0))
			t.fail(err)
			_, err = t.conn.Write(data)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
			t.lost.Add(uint64(len(batch) - i))
			return false
		case err != nil:
			t.fail(err)
		default:
			t.sent.Add(1)
		}
	}
	return true
}

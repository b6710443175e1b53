package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// relay passes BGP messages between a neighbour and gobgp. It is there for
// three things that gobgp has no switch for:
//
//   - Nothing is imported. gobgp keeps what a neighbour announces even where
//     its policy rejects it. The relay throws a neighbour's UPDATEs away,
//     whatever is in them, so that 100,000 routes cost no memory.
//   - What is told to the neighbour is seen on its way out: a route counts as
//     there once its UPDATE has been written to an established session.
//   - The connection can end without a NOTIFICATION, which graceful restart
//     needs and gobgp's own end of a session does not allow.
type relay struct {
	s            *session
	outer, inner net.Conn
	in           *bufio.Reader // what the neighbour says; our OPEN is with it already

	mu          sync.Mutex
	cause       error // why it ended: the first that was found
	heard, said bool  // the neighbour's first KEEPALIVE, and gobgp's
}

// notified is the end of a session by a NOTIFICATION.
type notified struct{ text string }

func (n *notified) Error() string { return n.text }

var errClosed = errors.New("the neighbour closed the connection")

// run passes messages on until either side ends, and says why.
func (r *relay) run() error {
	var both sync.WaitGroup
	both.Go(func() { r.end(r.inward()) })
	both.Go(func() { r.end(r.outward()) })
	both.Wait()
	return r.cause
}

// agreed notes that a side has taken the other one's OPEN. With both the session
// is established.
func (r *relay) agreed(side *bool) {
	r.mu.Lock()
	before := r.heard && r.said
	*side = true
	now := r.heard && r.said
	r.mu.Unlock()
	if now && !before {
		r.s.established()
	}
}

// end closes both sides. A NOTIFICATION says more than the end that follows.
func (r *relay) end(err error) {
	r.mu.Lock()
	var n *notified
	if r.cause == nil || errors.As(err, &n) {
		r.cause = err
	}
	r.mu.Unlock()
	_ = r.outer.Close()
	_ = r.inner.Close()
}

// maxMessage is the longest BGP message (RFC 4271, 4.1); longer ones (RFC
// 8654) are not negotiated.
const maxMessage = bgp.BGP_MAX_MESSAGE_LENGTH

var marker = bytes.Repeat([]byte{0xff}, 16)

// read reads one message into buf and returns it whole.
func read1(in *bufio.Reader, buf []byte) ([]byte, error) {
	head := buf[:bgp.BGP_HEADER_LENGTH]
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[16:]))
	if !bytes.Equal(head[:16], marker) || n < bgp.BGP_HEADER_LENGTH || n > maxMessage {
		return nil, errors.New("the neighbour sent something that is no BGP message")
	}
	_, err := io.ReadFull(in, buf[bgp.BGP_HEADER_LENGTH:n])
	return buf[:n], err
}

// inward passes on what the neighbour says, but for its routes.
func (r *relay) inward() error {
	buf := make([]byte, maxMessage)
	opened, established := false, false
	var kept time.Time
	for {
		msg, err := read1(r.in, buf)
		if err != nil {
			return broken(err)
		}
		switch msg[18] {
		case bgp.BGP_MSG_OPEN:
			if open := parseOpen(msg); open != nil && !opened {
				opened = true
				r.s.opened(open)
			}
		case bgp.BGP_MSG_KEEPALIVE:
			if opened && !established {
				established = true
				r.agreed(&r.heard)
			}
		case bgp.BGP_MSG_NOTIFICATION:
			_ = r.toInner(msg)
			return &notified{"NOTIFICATION received: " + notification(msg)}
		case bgp.BGP_MSG_UPDATE:
			if endOfRIB(msg) {
				break // gobgp waits for it before it tells its own
			}
			r.s.refused()
			// To gobgp it says no more than that the neighbour is alive.
			if !established || time.Since(kept) < time.Second {
				continue
			}
			kept = time.Now()
			msg = keepalive
		}
		if err := r.toInner(msg); err != nil {
			return errors.New("gobgp closed the session")
		}
	}
}

func (r *relay) toInner(msg []byte) error {
	_, err := r.inner.Write(msg)
	return err
}

// broken says how a connection to the neighbour ended.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errClosed
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("the connection broke: %w", op.Err)
	}
	return err
}

// outward passes on what gobgp says, and notes what it is.
func (r *relay) outward() error {
	in := bufio.NewReaderSize(r.inner, 64<<10)
	buf := make([]byte, maxMessage)
	for {
		msg, err := read1(in, buf)
		if err != nil {
			return errors.New("gobgp closed the session")
		}
		if err := r.outer.SetWriteDeadline(time.Now().Add(r.s.peer.HoldTime)); err != nil {
			return broken(err)
		}
		if _, err := r.outer.Write(msg); err != nil {
			return broken(err)
		}
		switch msg[18] {
		case bgp.BGP_MSG_KEEPALIVE:
			r.agreed(&r.said)
		case bgp.BGP_MSG_UPDATE:
			m, err := bgp.ParseBGPMessage(msg)
			if err != nil {
				return fmt.Errorf("gobgp wrote an UPDATE that cannot be read: %w", err)
			}
			if u, ok := m.Body.(*bgp.BGPUpdate); ok {
				r.s.wrote(u)
			}
		case bgp.BGP_MSG_NOTIFICATION:
			return &notified{"NOTIFICATION sent: " + notification(msg)}
		}
	}
}

// keepalive is a whole KEEPALIVE message.
var keepalive = append(bytes.Clone(marker), 0, bgp.BGP_HEADER_LENGTH, bgp.BGP_MSG_KEEPALIVE)

// parseOpen reads an OPEN; nil it is none that can be read.
func parseOpen(msg []byte) (open *bgp.BGPOpen) {
	defer func() {
		if recover() != nil { // the parser is not ours, the bytes are anybody's
			open = nil
		}
	}()
	m, err := bgp.ParseBGPMessage(bytes.Clone(msg))
	if err != nil {
		return nil
	}
	open, _ = m.Body.(*bgp.BGPOpen)
	return open
}

// notification says in words what a NOTIFICATION is about.
func notification(msg []byte) string {
	if len(msg) < bgp.BGP_HEADER_LENGTH+2 {
		return "without a code"
	}
	return bgp.NewNotificationErrorCode(msg[bgp.BGP_HEADER_LENGTH], msg[bgp.BGP_HEADER_LENGTH+1]).String()
}

// endOfRIB reports whether an UPDATE is an End-of-RIB marker (RFC 4724, 2): empty, or
// with an MP_UNREACH_NLRI of no more than a family.
func endOfRIB(msg []byte) bool {
	body := msg[bgp.BGP_HEADER_LENGTH:]
	if len(body) < 4 || body[0]|body[1] != 0 {
		return false
	}
	attrs := body[4:]
	if int(binary.BigEndian.Uint16(body[2:])) != len(attrs) {
		return false
	}
	const extended = byte(bgp.BGP_ATTR_FLAG_EXTENDED_LENGTH)
	switch {
	case len(attrs) == 0:
		return true
	case len(attrs) == 6:
		return attrs[0]&extended == 0 && attrs[1] == byte(bgp.BGP_ATTR_TYPE_MP_UNREACH_NLRI) && attrs[2] == 3
	case len(attrs) == 7:
		return attrs[0]&extended != 0 && attrs[1] == byte(bgp.BGP_ATTR_TYPE_MP_UNREACH_NLRI) && attrs[2] == 0 && attrs[3] == 3
	}
	return false
}

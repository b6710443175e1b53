package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	innerAddress = "127.0.0.1"
	innerWait    = 10 * time.Second // for gobgp to connect, which takes it one or two
	innerAge     = time.Minute      // for which gobgp's end is kept for the next try; it gives up after four
	greetTime    = time.Minute      // for the neighbour to answer our OPEN
)

// joined is gobgp's end of a session. It has said its OPEN and heard nothing.
type joined struct {
	conn net.Conn
	open []byte // the message
	born time.Time
	err  error
}

// ask has gobgp connect to us in the background: it takes a second or two for
// that, in which we connect to the neighbour.
func (s *session) ask(ctx context.Context) {
	if s.coming != nil {
		return
	}
	at := make(chan joined, 1)
	s.coming = at
	go func() { at <- s.join(ctx) }()
}

// joined waits for gobgp's end.
func (s *session) joined(ctx context.Context) (joined, error) {
	for {
		s.ask(ctx)
		j := <-s.coming
		s.coming = nil
		if j.err != nil || time.Since(j.born) < innerAge {
			return j, j.err
		}
		_ = j.conn.Close()
		if err := s.leave(); err != nil {
			return j, err
		}
	}
}

// keep puts gobgp's end back for the next neighbour that connects: it has not
// heard of this one.
func (s *session) keep(j joined) {
	s.coming = make(chan joined, 1)
	s.coming <- j
}

// part ends what ask began.
func (s *session) part() {
	if s.coming == nil {
		return
	}
	j := <-s.coming
	s.coming = nil
	if j.err == nil {
		_ = j.conn.Close()
		if err := s.leave(); err != nil {
			s.log.Debug("gobgp keeps the neighbour", "error", err)
		}
	}
}

// join has gobgp connect to us for the neighbour.
func (s *session) join(ctx context.Context) joined {
	fail := func(err error) joined { return joined{err: err} }
	req, err := s.request()
	if err != nil {
		return fail(err)
	}
	if err := s.server.AddPeer(ctx, req); err != nil {
		return fail(fmt.Errorf("gobgp refuses the neighbour: %w", err))
	}
	deadline := time.Now().Add(innerWait)
	stop := context.AfterFunc(ctx, func() { _ = s.inner.SetDeadline(time.Now()) })
	defer stop()
	for {
		if err := s.inner.SetDeadline(deadline); err != nil {
			return fail(errors.Join(err, s.leave()))
		}
		if ctx.Err() != nil { // its deadline may have been overwritten
			return fail(errors.Join(ctx.Err(), s.leave()))
		}
		conn, err := s.inner.AcceptTCP()
		if err != nil {
			return fail(errors.Join(fmt.Errorf("gobgp did not connect: %w", err), s.leave()))
		}
		if !ours(conn) {
			_ = conn.Close()
			continue
		}
		open, err := hello(conn, deadline)
		if err != nil {
			_ = conn.Close()
			return fail(errors.Join(err, s.leave()))
		}
		return joined{conn: conn, open: open, born: time.Now()}
	}
}

// hello reads the OPEN that gobgp begins with.
func hello(conn net.Conn, deadline time.Time) ([]byte, error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	// Behind its OPEN gobgp says nothing before it has one, so the reader holds
	// nothing back.
	msg, err := read1(bufio.NewReader(conn), make([]byte, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("gobgp did not say OPEN: %w", err)
	}
	if msg[18] != bgp.BGP_MSG_OPEN {
		return nil, fmt.Errorf("gobgp began with a message of type %d", msg[18])
	}
	return msg, conn.SetReadDeadline(time.Time{})
}

// greet says OPEN to the neighbour and waits until it answers anything: many
// close what comes too soon after a broken session. What it answers is still to
// be read, but for a NOTIFICATION.
func greet(outer net.Conn, open []byte) (*bufio.Reader, error) {
	if err := outer.SetDeadline(time.Now().Add(greetTime)); err != nil {
		return nil, broken(err)
	}
	if _, err := outer.Write(open); err != nil {
		return nil, errClosed
	}
	in := bufio.NewReaderSize(outer, 64<<10)
	head, err := in.Peek(bgp.BGP_HEADER_LENGTH)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return nil, fmt.Errorf("the neighbour took the connection and said nothing for %s", greetTime)
	}
	if err != nil {
		return nil, errClosed // or reset, as our OPEN found it closed
	}
	if head[18] == bgp.BGP_MSG_NOTIFICATION {
		msg, err := read1(in, make([]byte, maxMessage))
		if err != nil {
			return nil, broken(err)
		}
		return nil, &notified{"NOTIFICATION received: " + notification(msg)}
	}
	return in, outer.SetDeadline(time.Time{})
}

// leave takes the neighbour from gobgp.
func (s *session) leave() error {
	return s.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: innerAddress})
}

// request is the neighbour as gobgp sees it: at the relay. It is told that we
// are restarting each time, so that a neighbour which has kept our routes goes on
// keeping them until all are there again.
func (s *session) request() (*api.AddPeerRequest, error) {
	at, ok := s.inner.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("the relay listens on %s", s.inner.Addr())
	}
	restart := s.peer.GracefulRestart
	p := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: innerAddress, PeerAsn: s.peer.PeerAS},
		Transport: &api.Transport{
			LocalAddress: innerAddress, RemotePort: uint32(at.Port),
		},
		Timers: &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, HoldTime: uint64(s.peer.HoldTime / time.Second)}},
		GracefulRestart: &api.GracefulRestart{
			Enabled: restart > 0, RestartTime: uint32(restart / time.Second), LocalRestarting: restart > 0,
			DeferralTime: 1, // seconds that the neighbour may take to tell its own routes, which nobody wants
		},
	}
	for _, f := range s.peer.families {
		afi, safi := bgp.RouteFamilyToAfiSafi(f)
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: &api.Family{Afi: api.Family_Afi(afi), Safi: api.Family_Safi(safi)}, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: restart > 0}},
		})
	}
	return &api.AddPeerRequest{Peer: p}, nil
}

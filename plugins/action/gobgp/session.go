package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	minRetry    = 250 * time.Millisecond // first pause between tries to connect
	dialTimeout = 5 * time.Second
	steady      = 30 * time.Second // a session this old had nothing wrong with it at its start
	eager       = 10 * time.Second // so long pauses stay short: gobgpd takes no connection for 5 s after a broken one
)

// session is what we have with one neighbour. The connection to it is ours, and
// gobgp's ends at a relay on the loopback interface between the two: see relay.
type session struct {
	peer    *peerSettings
	local   uint32
	id      netip.Addr
	log     hclog.Logger
	changed func() // called without mu

	server *server.BgpServer
	inner  *net.TCPListener // where gobgp connects to
	came   chan net.Conn    // connections of a passive neighbour
	told   string           // the last state that was logged
	coming chan joined      // where gobgp's connection will be; nil: it has not been asked for one

	mu     sync.Mutex
	wanted map[routeKey]*route
	routes map[routeKey]*route // that gobgp has
	failed map[routeKey]string // why gobgp does not take or withdraw a route
	state  string              // for people
	since  time.Time
	cause  string // why it is not established
	up     bool
	lost   time.Time                // when it was up last, or was to come up first
	theirs map[bgp.RouteFamily]bool // families that the neighbour takes
	keeps  map[bgp.RouteFamily]bool // families that it keeps over a restart of ours
	sent   map[routeKey]struct{}    // that this session has told and not taken back
	stale  map[routeKey]struct{}    // of sessions before, that the neighbour may have kept
	until  time.Time                // how long it keeps them at most
	refuse uint64                   // updates of the neighbour that were thrown away
	outer  net.Conn
}

func newSession(set *settings, p *peerSettings, log hclog.Logger, changed func()) *session {
	return &session{
		peer: p, local: set.LocalAS, id: set.RouterID, log: log.With("neighbor", p.Address), changed: changed,
		came: make(chan net.Conn, 1), routes: map[routeKey]*route{}, state: "waiting", since: time.Now(),
		cause: "waits to be told what to announce", sent: map[routeKey]struct{}{}, stale: map[routeKey]struct{}{},
	}
}

// open readies gobgp. No connection is made.
func (s *session) open(ctx context.Context) error {
	var err error
	if s.server, err = takeServer(ctx, s.local, s.id); err != nil {
		return err
	}
	s.inner, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("cannot listen on the loopback interface for gobgp: %w", err)
	}
	return nil
}

func (s *session) close() {
	if s.inner != nil {
		_ = s.inner.Close() // nothing was written to it
	}
	if s.server != nil {
		giveServer(s.server)
		s.server = nil
	}
}

// arrived takes a passive neighbour's connection. It stands in the place of the
// session there is: the neighbour knows better whether that still lives.
func (s *session) arrived(conn net.Conn) {
	s.mu.Lock()
	old := s.outer
	s.mu.Unlock()
	select {
	case before := <-s.came:
		_ = before.Close()
	default:
	}
	select {
	case s.came <- conn:
	default:
		_ = conn.Close()
	}
	if old != nil {
		_ = old.Close()
	}
}

// run keeps up the session until ctx is done.
func (s *session) run(ctx context.Context) {
	defer s.part()
	retry, began := minRetry, time.Now()
	s.mu.Lock()
	s.lost = time.Now()
	s.mu.Unlock()
	for ctx.Err() == nil {
		once := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		s.ask(ctx) // for the next try
		s.down(err)
		if time.Since(once) > steady {
			retry, began = minRetry, time.Now()
		}
		if !pause(ctx, min(retry, s.peer.ConnectRetry)) {
			return
		}
		if time.Since(began) > eager {
			retry *= 2
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once has one session from beginning to end.
func (s *session) once(ctx context.Context) error {
	s.become("connecting", "")
	s.ask(ctx)
	outer, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer outer.Close()
	inner, err := s.joined(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.outer = outer
	s.sent = map[routeKey]struct{}{}
	s.theirs, s.keeps = nil, nil
	s.mu.Unlock()
	s.become("opening", "")
	// The connection is closed before gobgp knows of it, and so without a
	// NOTIFICATION, upon which the neighbour would drop all routes.
	defer context.AfterFunc(ctx, func() { _ = outer.Close() })()
	in, err := greet(outer, inner.open)
	if err != nil {
		s.keep(inner)
		return err
	}
	err = (&relay{s: s, outer: outer, in: in, inner: inner.conn}).run()
	_ = outer.Close()
	_ = inner.conn.Close()
	return errors.Join(err, s.leave())
}

// connect opens the connection to the neighbour, or waits for it.
func (s *session) connect(ctx context.Context) (net.Conn, error) {
	if s.peer.Passive {
		s.become("listening", "the neighbour has not connected")
		select {
		case conn := <-s.came:
			if err := s.accepted(conn); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return conn, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d := net.Dialer{Timeout: min(dialTimeout, max(s.peer.ConnectRetry, time.Second)), Control: s.dialOptions}
	if s.peer.LocalAddress.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.peer.LocalAddress, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.peer.address.String(), strconv.Itoa(int(s.peer.Port))))
	if err != nil {
		return nil, connectError(err, s.peer.Password != "")
	}
	return conn, nil
}

func connectError(err error, password bool) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if password {
			return errors.New("no answer: the neighbour is not reachable, or has another password")
		}
		return errors.New("no answer: the neighbour is not reachable, or wants a password")
	}
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall == "connect" {
		err = call.Err
	}
	return err
}

// hold makes gobgp have these routes.
func (s *session) hold(routes map[routeKey]*route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = routes
	s.settle()
}

// again tries once more what gobgp has refused.
func (s *session) again() {
	s.mu.Lock()
	again := len(s.failed) > 0
	if again {
		s.settle()
	}
	s.mu.Unlock()
	if again {
		s.changed()
	}
}

// settle makes gobgp have what is wanted, new routes first. It is called with the
// lock held.
func (s *session) settle() {
	before := s.failed
	s.failed = map[routeKey]string{}
	fail := func(r *route, cause string) {
		s.failed[r.key] = cause
		if before[r.key] != cause {
			s.log.Error(cause, "route", r.text)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.wanted), compareKeys) {
		r, old := s.wanted[k], s.routes[k]
		if !slices.Contains(s.peer.families, k.family) || old != nil && old.same(r) {
			continue
		}
		if err := s.announce(r); err != nil {
			fail(r, fmt.Sprintf("gobgp does not take the route: %v", err))
			continue
		}
		delete(s.sent, k) // until the new one is out
		s.routes[k] = r
	}
	for k, r := range s.routes {
		if s.wanted[k] != nil {
			continue
		}
		if err := s.withdraw(r); err != nil {
			fail(r, fmt.Sprintf("gobgp does not withdraw the route: %v", err))
			continue
		}
		delete(s.routes, k)
	}
}

func compareKeys(a, b routeKey) int {
	if a.family != b.family {
		return int(a.family) - int(b.family)
	}
	return strings.Compare(a.nlri, b.nlri)
}

func (s *session) announce(r *route) error {
	p, err := r.path(as{s.local, s.peer.internal})
	if err != nil {
		return err
	}
	_, err = s.server.AddPath(context.Background(), &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: p})
	return err
}

func (s *session) withdraw(r *route) error {
	p, err := r.path(as{s.local, s.peer.internal})
	if err != nil {
		return err
	}
	return s.server.DeletePath(context.Background(), &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: p})
}

// where tells whether the neighbour has a route; false: it is not to have it.
func (s *session) where(k routeKey) (sdk.PeerStatus, bool) {
	if !slices.Contains(s.peer.families, k.family) {
		return sdk.PeerStatus{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := sdk.PeerStatus{Peer: s.peer.Address, State: sdk.MitigationPending}
	_, sent := s.sent[k]
	_, kept := s.stale[k]
	switch cause := s.failed[k]; {
	case cause != "":
		st.Cause = cause
	case s.up && sent:
		st.State = sdk.MitigationActive
	case s.up && !s.theirs[k.family]:
		st.Cause = "the neighbour does not take " + familyName(k.family)
	case s.up:
		st.Cause = "not sent yet"
	case kept && time.Now().Before(s.until):
		st.Cause = fmt.Sprintf("no session: %s; the neighbour may keep the route until %s", s.cause, s.until.UTC().Format(time.TimeOnly))
	default:
		st.Cause = "no session: " + s.cause
	}
	return st, true
}

// left tells why the neighbour may have a route that is held no more.
func (s *session) left(k routeKey) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cause := s.failed[k]; cause != "" {
		return s.peer.Address + ": " + cause
	}
	if _, sent := s.sent[k]; sent {
		return s.peer.Address + " has not been told yet"
	}
	if _, kept := s.stale[k]; kept && time.Now().Before(s.until) {
		return fmt.Sprintf("%s has no session and may keep it until %s (graceful restart)", s.peer.Address, s.until.UTC().Format(time.TimeOnly))
	}
	return ""
}

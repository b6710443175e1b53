package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// speaker is the backend with BGP sessions of its own. Each neighbour has a
// gobgp server to itself: what one neighbour does delays nothing for another,
// and a route can be written differently for each.
type speaker struct {
	sessions []*session
	listens  []netip.AddrPort
	log      hclog.Logger

	life      context.Context
	stop      context.CancelFunc
	work      sync.WaitGroup
	listeners []net.Listener
	first     sync.Once // the first hold, which begins the sessions
}

func newSpeaker(set *settings, log hclog.Logger, changed func()) *speaker {
	s := &speaker{log: log}
	for i := range set.peers {
		s.sessions = append(s.sessions, newSession(set, &set.peers[i], log, changed))
		if set.peers[i].Passive {
			s.listens = set.Listen
		}
	}
	s.life, s.stop = context.WithCancel(context.Background())
	return s
}

// start opens the listeners and gobgp's servers.
func (s *speaker) start(ctx context.Context, before map[routeKey]bool) error {
	for _, addr := range s.listens {
		lc := net.ListenConfig{Control: s.listenOptions}
		l, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return errors.Join(fmt.Errorf("cannot listen for passive neighbours: %w", err), s.closeListeners())
		}
		s.listeners = append(s.listeners, l)
		s.work.Go(func() { s.accept(l) })
	}
	for _, x := range s.sessions {
		if err := x.open(ctx); err != nil {
			s.close()
			return err
		}
		x.before(before)
	}
	return nil
}

// accept lets in whom a passive neighbour block names.
func (s *speaker) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.life.Err() != nil {
				return
			}
			s.log.Warn("accepting a connection failed", "error", err)
			if !pause(s.life, minRetry) {
				return
			}
			continue
		}
		if !s.take(conn) {
			s.log.Debug("connection of nobody we know was closed", "from", conn.RemoteAddr())
			_ = conn.Close()
		}
	}
}

// take hands a connection to the session whose neighbour it is.
func (s *speaker) take(conn net.Conn) bool {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return false
	}
	for _, x := range s.sessions {
		if x.peer.Passive && x.peer.address.WithZone("") == from.Addr().Unmap().WithZone("") {
			x.arrived(conn)
			return true
		}
	}
	return false
}

func (s *speaker) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	s.listeners = nil
	return errors.Join(errs...)
}

func (s *speaker) close() {
	s.stop()
	if err := s.closeListeners(); err != nil {
		s.log.Warn("closing a listener failed", "error", err)
	}
	s.work.Wait()
	for _, x := range s.sessions {
		x.close()
	}
}

func (s *speaker) hold(routes map[routeKey]*route) {
	for _, x := range s.sessions {
		x.hold(routes)
	}
	s.first.Do(func() {
		for _, x := range s.sessions {
			s.work.Go(func() { x.run(s.life) })
		}
		s.work.Go(s.mend)
	})
}

// mend tries again what went wrong, until close.
func (s *speaker) mend() {
	for pause(s.life, time.Second) {
		for _, x := range s.sessions {
			x.again()
		}
	}
}

func (s *speaker) where(r *route) []sdk.PeerStatus {
	var out []sdk.PeerStatus
	for _, x := range s.sessions {
		if st, ok := x.where(r.key); ok {
			out = append(out, st)
		}
	}
	return out
}

func (s *speaker) left(k routeKey) string {
	var who []string
	for _, x := range s.sessions {
		if cause := x.left(k); cause != "" {
			who = append(who, cause)
		}
	}
	return strings.Join(who, "; ")
}

func (s *speaker) table() sdk.Rows {
	rows := sdk.Rows{Columns: []string{"neighbor", "as", "state", "since", "cause", "routes", "families", "restart", "refused"}}
	for _, x := range s.sessions {
		rows.Rows = append(rows.Rows, x.row())
	}
	return rows
}

func (s *speaker) health() error {
	var errs []error
	for _, x := range s.sessions {
		if err := x.health(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// idle are gobgp servers that nobody uses: what a server does once it serves
// never returns, so they are kept for the next who needs one.
var idle struct {
	sync.Mutex
	servers []*server.BgpServer
}

// takeServer has a gobgp server speak for an AS.
func takeServer(ctx context.Context, localAS uint32, routerID netip.Addr) (*server.BgpServer, error) {
	idle.Lock()
	var s *server.BgpServer
	if n := len(idle.servers); n > 0 {
		s, idle.servers = idle.servers[n-1], idle.servers[:n-1]
	}
	idle.Unlock()
	if s == nil {
		s = server.NewBgpServer(server.LoggerOption(quiet{}))
		go s.Serve()
	}
	err := s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: localAS, RouterId: routerID.String(), ListenPort: -1, // it listens nowhere
	}})
	if err != nil {
		giveServer(s)
		return nil, fmt.Errorf("gobgp does not start as AS %d with router id %s: %w", localAS, routerID, err)
	}
	return s, nil
}

func giveServer(s *server.BgpServer) {
	idle.Lock()
	defer idle.Unlock()
	idle.servers = append(idle.servers, s)
}

// near is our address of a session: what is configured, else what the system
// would choose.
func (p *peerSettings) near() netip.Addr {
	if p.LocalAddress.IsValid() {
		return p.LocalAddress
	}
	conn, err := net.Dial("udp", net.JoinHostPort(p.address.String(), strconv.Itoa(int(p.Port)))) // sends nothing
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr()
}

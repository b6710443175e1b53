package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// become changes the state that people are shown.
func (s *session) become(state, cause string) {
	s.mu.Lock()
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
	if cause != "" {
		s.cause = cause
	}
	s.mu.Unlock()
	s.changed()
}

// before notes what the neighbour may have kept of a plugin that was here before
// us: for as long as any session lasts that broke off when we were started.
func (s *session) before(keys map[routeKey]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer.GracefulRestart == 0 {
		return
	}
	for k := range keys {
		if slices.Contains(s.peer.families, k.family) {
			s.stale[k] = struct{}{}
		}
	}
	s.until = time.Now().Add(s.peer.GracefulRestart)
}

// opened notes what the neighbour can do.
func (s *session) opened(open *bgp.BGPOpen) {
	theirs, keeps := capabilities(open)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.theirs, s.keeps = theirs, keeps
	if s.peer.GracefulRestart == 0 {
		s.keeps = nil
	}
	for k := range s.stale {
		if !s.keeps[k.family] || !theirs[k.family] {
			delete(s.stale, k) // it has dropped them, or does now
		}
	}
}

// capabilities are the families that an OPEN offers, and those of which it
// keeps routes over our restart.
func capabilities(open *bgp.BGPOpen) (offered, keeps map[bgp.RouteFamily]bool) {
	offered, keeps = map[bgp.RouteFamily]bool{}, map[bgp.RouteFamily]bool{}
	restart := false
	for _, p := range open.OptParams {
		caps, ok := p.(*bgp.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range caps.Capability {
			switch c := c.(type) {
			case *bgp.CapMultiProtocol:
				offered[c.CapValue] = true
			case *bgp.CapGracefulRestart:
				restart = true
			}
		}
	}
	if len(offered) == 0 {
		offered[bgp.RF_IPv4_UC] = true // as without multiprotocol extensions
	}
	if restart { // whoever has the capability helps others with theirs (RFC 4724, 4.2)
		keeps = offered
	}
	return offered, keeps
}

// established notes that the session is.
func (s *session) established() {
	s.mu.Lock()
	s.up, s.cause = true, ""
	s.mu.Unlock()
	s.become("established", "")
	s.say("session established")
}

// wrote notes that an UPDATE of ours is with the neighbour.
func (s *session) wrote(u *bgp.BGPUpdate) {
	s.mu.Lock()
	for _, n := range u.WithdrawnRoutes {
		s.mark(n, false)
	}
	for _, n := range u.NLRI {
		s.mark(n, true)
	}
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			for _, n := range a.Value {
				s.mark(n, true)
			}
		case *bgp.PathAttributeMpUnreachNLRI:
			for _, n := range a.Value {
				s.mark(n, false)
			}
		}
	}
	if end, family := u.IsEndOfRib(); end {
		for k := range s.stale {
			if k.family == family {
				delete(s.stale, k) // what was not told again is dropped now
			}
		}
	}
	s.mu.Unlock()
	s.changed()
}

// mark is wrote for one route, under the lock.
func (s *session) mark(n bgp.AddrPrefixInterface, there bool) {
	k, err := keyOf(n)
	if err != nil {
		return
	}
	if there {
		s.sent[k] = struct{}{}
	} else {
		delete(s.sent, k)
		delete(s.stale, k)
	}
}

// down notes that there is no session. Where it broke off, the neighbour
// may keep what it was told; after a NOTIFICATION it does not.
func (s *session) down(err error) {
	var told *notified
	s.mu.Lock()
	if s.up && !errors.As(err, &told) {
		for k := range s.sent {
			if s.keeps[k.family] {
				s.stale[k] = struct{}{}
			}
		}
		s.until = time.Now().Add(s.peer.GracefulRestart)
	} else if s.up {
		clear(s.stale)
	}
	clear(s.sent)
	if s.up {
		s.lost = time.Now()
	}
	s.up, s.outer = false, nil
	// Many close what comes too soon after a NOTIFICATION without a word: the
	// NOTIFICATION says more.
	if errors.As(err, &told) || !errors.Is(err, errClosed) || s.theirs != nil {
		s.cause = err.Error()
	}
	cause := s.cause
	s.mu.Unlock()
	s.become("down", "")
	s.say("no session: " + cause)
}

// say logs a state once, however often it is come to.
func (s *session) say(text string) {
	if s.told == text {
		return
	}
	s.told = text
	if strings.HasPrefix(text, "no session") {
		s.log.Warn(text)
		return
	}
	s.log.Info(text)
}

// refused counts an update of the neighbour that was thrown away.
func (s *session) refused() {
	s.mu.Lock()
	s.refuse++
	s.mu.Unlock()
}

// alarm is for how long a session may be missing before that is unhealthy.
const alarm = 5 * time.Second

func (s *session) health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up || s.lost.IsZero() || time.Since(s.lost) < alarm {
		return nil
	}
	return fmt.Errorf("neighbour %s: no session: %s", s.peer.Address, s.cause)
}

// row is the session in the table of neighbours.
func (s *session) row() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var takes []string
	for _, f := range s.peer.families {
		if s.up && s.theirs[f] {
			takes = append(takes, familyName(f))
		}
	}
	restart := "no"
	if s.up && len(s.keeps) > 0 {
		restart = s.peer.GracefulRestart.String()
	}
	cause := s.cause
	if s.up {
		cause = ""
	}
	return []string{
		s.peer.Address, strconv.FormatUint(uint64(s.peer.PeerAS), 10), s.state, time.Since(s.since).Round(time.Second).String(), cause,
		strconv.Itoa(len(s.sent)), strings.Join(takes, " "), restart, strconv.FormatUint(s.refuse, 10),
	}
}

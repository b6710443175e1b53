package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

const (
	callTime = 5 * time.Second  // of one call of gobgpd, as FastNetMon Community allows
	lookTime = time.Second      // between two looks at gobgpd's sessions
	fullTime = 10 * time.Second // between two looks at all that is announced while nothing seems to change
)

// remote is the backend that drives a gobgpd. Of what is announced there it
// touches only what it has announced itself, which a file remembers over a
// crash.
type remote struct {
	address string
	set     *settings
	log     hclog.Logger
	changed func()
	file    *journal

	conn   *grpc.ClientConn
	client api.GobgpApiClient
	life   context.Context
	stop   context.CancelFunc
	work   sync.WaitGroup
	kick   chan struct{}
	told   string // the last thing that was logged

	mu     sync.Mutex
	wanted map[routeKey]*route
	synced bool                             // wanted is known
	cause  string                           // why gobgpd is not reached; "" it is
	peers  []remotePeer                     // as last seen
	out    map[string]map[routeKey]struct{} // what each neighbour was last seen to have
	failed map[routeKey]string              // why gobgpd does not take a route
	ours   map[routeKey]*route              // what gobgpd has of us; nil values: from before, not known in full
}

// remotePeer is a neighbour of gobgpd.
type remotePeer struct {
	name     string
	as       uint32
	state    string
	up       bool
	since    time.Time
	families []bgp.RouteFamily
}

func newRemote(set *settings, env sdk.Env, changed func()) *remote {
	r := &remote{
		address: set.API, set: set, log: env.Logger.With("gobgpd", set.API), changed: changed, file: newJournal(env.StateDir),
		kick: make(chan struct{}, 1), cause: "not connected yet",
		wanted: map[routeKey]*route{}, failed: map[routeKey]string{}, ours: map[routeKey]*route{},
	}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// start connects in the background. What gobgpd has of us from before is in a file
// of its own, which knows better.
func (r *remote) start(context.Context, map[routeKey]bool) error {
	creds, err := r.set.credentials()
	if err != nil {
		return err
	}
	retry := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: callTime}
	retry.Backoff.BaseDelay, retry.Backoff.MaxDelay = minRetry, 2*time.Second
	r.conn, err = grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(creds), grpc.WithConnectParams(retry))
	if err != nil {
		return fmt.Errorf("gobgpd at %s cannot be reached: %w", r.address, err)
	}
	r.client = api.NewGobgpApiClient(r.conn)
	keys, err := r.file.load()
	if err != nil {
		r.log.Warn("what was announced before is not known", "error", err)
	}
	for _, k := range keys {
		r.ours[k] = nil
	}
	r.work.Go(r.run)
	return nil
}

func (r *remote) close() {
	r.stop()
	r.work.Wait()
	if r.conn != nil {
		if err := r.conn.Close(); err != nil {
			r.log.Debug("closing the connection to gobgpd failed", "error", err)
		}
	}
}

func (r *remote) hold(routes map[routeKey]*route) {
	r.mu.Lock()
	r.wanted, r.synced = routes, true
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run keeps gobgpd as wanted until close.
func (r *remote) run() {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	var full time.Time
	for {
		kicked := false
		select {
		case <-r.life.Done():
			return
		case <-r.kick:
			kicked = true
		case <-tick.C:
		}
		same, err := r.look()
		if err == nil && (kicked || !same || r.waiting() || time.Since(full) > fullTime) {
			if err = r.reconcile(); err == nil {
				full = time.Now()
			}
		}
		if r.life.Err() != nil {
			return
		}
		r.reach(err)
		if err != nil {
			full = time.Time{} // it may come back without anything
		}
		r.changed()
	}
}

// reach notes whether gobgpd could be reached.
func (r *remote) reach(err error) {
	text := ""
	if err != nil {
		text = err.Error()
		if st, ok := status.FromError(err); ok {
			text = st.Message()
		}
		text = fmt.Sprintf("gobgpd at %s: %s", r.address, unreached(text))
	}
	r.mu.Lock()
	r.cause = text
	r.mu.Unlock()
	switch text {
	case r.told:
	case "":
		r.log.Info("gobgpd is reached")
	default:
		r.log.Warn(text)
	}
	r.told = text
}

func (r *remote) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.life, callTime)
}

// look asks for gobgpd's sessions, and reports whether they are as before.
func (r *remote) look() (same bool, err error) {
	ctx, cancel := r.call()
	defer cancel()
	stream, err := r.client.ListPeer(ctx, &api.ListPeerRequest{})
	if err != nil {
		return false, err
	}
	var peers []remotePeer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
		peers = append(peers, peerOf(m.GetPeer()))
	}
	slices.SortFunc(peers, func(a, b remotePeer) int { return strings.Compare(a.name, b.name) })
	r.mu.Lock()
	defer r.mu.Unlock()
	same = slices.EqualFunc(r.peers, peers, func(a, b remotePeer) bool {
		return a.name == b.name && a.state == b.state && a.since.Equal(b.since) && slices.Equal(a.families, b.families)
	})
	r.peers = peers
	return same, nil
}

func peerOf(p *api.Peer) remotePeer {
	out := remotePeer{
		name: p.GetState().GetNeighborAddress(), as: p.GetState().GetPeerAsn(),
		state: strings.ToLower(p.GetState().GetSessionState().String()),
		up:    p.GetState().GetSessionState() == api.PeerState_ESTABLISHED,
		since: p.GetTimers().GetState().GetUptime().AsTime(),
	}
	for _, a := range p.GetAfiSafis() {
		f := a.GetConfig().GetFamily()
		out.families = append(out.families, bgp.AfiSafiToRouteFamily(uint16(f.GetAfi()), uint8(f.GetSafi())))
	}
	return out
}

// waiting reports whether some neighbour lacks what it should have.
func (r *remote) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.wanted {
		for _, p := range r.peers {
			if _, has := r.out[p.name][k]; p.up && slices.Contains(p.families, k.family) && !has {
				return true
			}
		}
	}
	return len(r.ours) != len(r.wanted)
}

func (r *remote) where(x *route) []sdk.PeerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	alone := func(cause string) []sdk.PeerStatus {
		return []sdk.PeerStatus{{Peer: "gobgpd", State: sdk.MitigationPending, Cause: cause}}
	}
	if r.cause != "" {
		return alone(r.cause)
	}
	if cause := r.failed[x.key]; cause != "" {
		return alone(cause)
	}
	var out []sdk.PeerStatus
	for _, p := range r.peers {
		if !slices.Contains(p.families, x.key.family) {
			continue
		}
		st := sdk.PeerStatus{Peer: p.name, State: sdk.MitigationPending, Cause: "gobgpd has not announced it yet"}
		_, has := r.out[p.name][x.key]
		held := r.ours[x.key]
		switch {
		case !p.up:
			st.Cause = "no session: gobgpd is in state " + p.state
		case has && held != nil && held.same(x):
			st.State, st.Cause = sdk.MitigationActive, ""
		}
		out = append(out, st)
	}
	if len(out) == 0 {
		return alone("no neighbour of gobgpd has the family " + familyName(x.key.family))
	}
	return out
}

func (r *remote) left(k routeKey) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ours := r.ours[k]; !ours {
		return ""
	}
	if r.cause != "" {
		return r.cause
	}
	return "gobgpd has not been told yet"
}

func (r *remote) table() sdk.Rows {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows := sdk.Rows{Columns: []string{"neighbor", "as", "state", "since", "cause", "routes", "families"}}
	if r.cause != "" {
		rows.Rows = append(rows.Rows, []string{"gobgpd", "", "down", "", r.cause, "0", ""})
		return rows
	}
	for _, p := range r.peers {
		var names []string
		for _, f := range p.families {
			names = append(names, familyName(f))
		}
		since := ""
		if p.up {
			since = time.Since(p.since).Round(time.Second).String()
		}
		rows.Rows = append(rows.Rows, []string{
			p.name, fmt.Sprint(p.as), p.state, since, "", fmt.Sprint(len(r.out[p.name])), strings.Join(names, " "),
		})
	}
	return rows
}

func (r *remote) health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != "" {
		return errors.New(r.cause)
	}
	var errs []error
	for _, p := range r.peers {
		if _, err := netip.ParseAddr(p.name); err == nil && !p.up {
			errs = append(errs, fmt.Errorf("neighbour %s of gobgpd: no session: it is in state %s", p.name, p.state))
		}
	}
	return errors.Join(errs...)
}

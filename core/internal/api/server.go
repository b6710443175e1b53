package api

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
)

// SocketMode is the control socket's usual file mode: who may connect may do
// everything, so it is the daemon's user and group alone.
const SocketMode os.FileMode = 0o660

// What clients may take of the daemon. An answer to a client that does not read
// waits in memory: at most connections × streams of them, the largest some 2 MB.
const (
	maxConnections = 32
	maxStreams     = 4 // of a connection
	maxCalls       = 4 // of Backend at the same time
	maxSubscribers = 32
	maxRequest     = 64 << 10
	maxResponse    = 16 << 20
	callTime       = 10 * time.Second // of Backend, for an answer
	doctorTime     = 30 * time.Second // of Backend, for an examination
	suggestTime    = 30 * time.Second // of Backend, for limits
	reloadTime     = time.Minute      // of Backend, for a reload
	testTime       = 40 * time.Second // of Backend, for trying an action
	stopTime       = 2 * time.Second
	noticeTime     = time.Minute // between two lines in the log about the same
)

// Serve answers on a Unix socket until ctx is done, then lets calls finish for
// two seconds and takes the socket away. The directory must exist; no other
// daemon may use it. An error tells why the socket could not be opened. A
// socket that somebody removes is made again; who is connected stays so.
func Serve(ctx context.Context, path string, mode os.FileMode, backend Backend, log hclog.Logger) error {
	l, err := listen(path, mode)
	if err != nil {
		return err
	}
	log.Debug("control socket is open", "path", path)
	return serveSocket(ctx, l, mode, backend, log)
}

// serveSocket answers on a socket, and on those that follow it.
func serveSocket(ctx context.Context, l *socket, mode os.FileMode, backend Backend, log hclog.Logger) error {
	again := &renewing{now: l, mode: mode, log: log}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { again.watch(ctx); close(watched) }()
	err := serve(ctx, again, backend, log)
	cancel()
	<-watched
	return err
}

// serve answers on any listener, and closes it.
func serve(ctx context.Context, l net.Listener, backend Backend, log hclog.Logger) error {
	live, stop := context.WithCancel(ctx)
	defer stop()
	s := &server{live: live, backend: backend, log: log, feed: newFeed(), calls: make(chan struct{}, maxCalls)}
	backend.Subscribe(live, s.feed.publish)
	g := grpc.NewServer(s.options()...)
	apiv1.RegisterControlServer(g, s)

	var closing sync.WaitGroup
	closing.Go(func() {
		<-live.Done()
		force := time.AfterFunc(stopTime, g.Stop)
		defer force.Stop()
		g.GracefulStop()
	})
	err := g.Serve(&limited{Listener: l, most: maxConnections, refused: func() {
		s.notice(&s.crowded, "control connections refused: there are too many", "most", maxConnections)
	}})
	stop()
	closing.Wait()
	return err
}

// server answers the calls of apiv1.Control.
type server struct {
	apiv1.UnimplementedControlServer
	live      context.Context
	backend   Backend
	log       hclog.Logger
	feed      *feed
	calls     chan struct{} // one for each call that is being answered
	reloading atomic.Bool
	crowded   atomic.Int64 // when the log was last told; see notice
	panicked  atomic.Int64
}

func (s *server) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(callers{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(maxResponse),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(16 << 10),
		// Fixed windows: what a client sends and nobody has asked for stays small.
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(64 << 10),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 5 * time.Minute, Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second}),
		grpc.ChainUnaryInterceptor(s.recoverUnary),
		grpc.ChainStreamInterceptor(s.recoverStream),
	}
}

// notice logs at most once in noticeTime; last is when it did.
func (s *server) notice(last *atomic.Int64, message string, args ...any) {
	now := time.Now().UnixNano()
	before := last.Load()
	if now-before < int64(noticeTime) || !last.CompareAndSwap(before, now) {
		return
	}
	s.log.Warn(message, args...)
}

package api

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestEvents(t *testing.T) {
	f := healthy()
	r := start(t, f)
	stream, err := client(t, r).Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint32(100) {
		f.publish(event(seq))
	}
	for seq := range uint32(100) {
		got, lost, err := stream.Next()
		if err != nil || lost != 0 {
			t.Fatalf("event %d: lost %d, %v", seq, lost, err)
		}
		if d := cmp.Diff(event(seq), got, equal...); d != "" {
			t.Fatal(d)
		}
	}
	f.publish(event(100))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got, _, err := stream.Next(); err != nil || got.Seq != 100 {
		t.Errorf("the event before the end: %d, %v", got.Seq, err)
	}
	if _, _, err := stream.Next(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("at the daemon's end: %v, want ErrNotRunning", err)
	}
}

// Whoever does not read holds nothing up, and is told exactly what it lost; others lose nothing.
func TestSlowSubscriber(t *testing.T) {
	f := healthy()
	r := start(t, f)
	slow, err := client(t, r).Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fast, err := client(t, r).Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 20 * feedLength
	taken := make(chan struct{}, n) // by the fast one
	var reader sync.WaitGroup
	reader.Go(func() {
		for seq := range uint32(n) {
			e, lost, err := fast.Next()
			if err != nil || lost != 0 || e.Seq != seq {
				t.Errorf("the fast one, event %d: seq %d, lost %d, %v", seq, e.Seq, lost, err)
				close(taken)
				return
			}
			taken <- struct{}{}
		}
	})
	for seq := range uint32(n) {
		before := time.Now()
		f.publish(event(seq))
		if took := time.Since(before); took > patience/2 {
			t.Fatalf("publishing took %v", took)
		}
		if seq >= feedLength/2 {
			<-taken // no faster than the fast one reads
		}
	}
	reader.Wait()
	next, lostTotal := uint32(0), uint64(0)
	for next < n {
		e, lost, err := slow.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq != next+uint32(lost) {
			t.Fatalf("after %d and %d lost ones comes %d", next, lost, e.Seq)
		}
		next, lostTotal = e.Seq+1, lostTotal+lost
	}
	if lostTotal == 0 {
		t.Error("nothing was lost: the test did not overtax the slow one")
	}
}

func TestFeedIsBounded(t *testing.T) {
	f := newFeed()
	var all []*subscriber
	for range maxSubscribers {
		s := f.subscribe()
		if s == nil {
			t.Fatal("refused too early")
		}
		all = append(all, s)
	}
	if f.subscribe() != nil {
		t.Error("one subscriber too many")
	}
	f.unsubscribe(all[0])
	if f.subscribe() == nil {
		t.Error("no room though one has gone")
	}
	for seq := range uint32(feedLength + 3) {
		f.publish(event(seq))
	}
	if e, lost := all[1].take(); e.Seq != 3 || lost != 3 {
		t.Errorf("first comes %d after %d lost", e.Seq, lost)
	}
	if e, lost := all[1].take(); e.Seq != 4 || lost != 0 {
		t.Errorf("then %d after %d lost", e.Seq, lost)
	}
	if e, _ := all[0].take(); e != nil {
		t.Error("one that has gone was told")
	}
}

// A subscriber that is stuck does not hold up the end.
func TestStopWithStuckSubscriber(t *testing.T) {
	f := healthy()
	r := start(t, f)
	if _, err := client(t, r).Events(t.Context()); err != nil {
		t.Fatal(err)
	}
	big := event(1)
	big.Label = strings.Repeat("x", 64<<10)
	for range 100 {
		f.publish(big)
	}
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*stopTime+patience/2 {
		t.Errorf("the end took %v", took)
	}
}

// Streams that are given up leave nothing: goleak looks for the rest.
func TestCancelledStreams(t *testing.T) {
	f := healthy()
	r := start(t, f)
	c := client(t, r)
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := c.Events(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f.publish(event(1))
		cancel()
		for err == nil {
			_, _, err = stream.Next()
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestHostileClients(t *testing.T) {
	r := start(t, healthy())
	c := client(t, r)

	huge := &apiv1.HostsRequest{Hostgroup: strings.Repeat("x", 20<<20)}
	if _, err := c.rpc.Hosts(t.Context(), huge); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("20 MB message: got %v", status.Code(err))
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatalf("after a huge message: %v", err)
	}

	// Connections without a word, then ones that talk nonsense.
	var idle []net.Conn
	for range 4 * maxConnections {
		conn, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("one that is connected is shut out: %v", err)
	}
	refused := 0
	for _, conn := range idle {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
			refused++
			continue
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the server keeps a connection that talks nonsense")
		}
	}
	if refused < len(idle)-maxConnections {
		t.Errorf("%d connections refused, want %d at least", refused, len(idle)-maxConnections)
	}
	// Their places are free again.
	for range maxConnections / 2 {
		if _, err := client(t, r).Status(t.Context()); err != nil {
			t.Fatalf("after many connections: %v", err)
		}
	}
}

// Calls at the same time from many clients, with events all the while.
func TestManyClients(t *testing.T) {
	f := healthy()
	r := start(t, f)
	if _, err := client(t, r).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 16 {
		c := client(t, r)
		all.Go(func() {
			for range 20 {
				if _, err := c.Status(t.Context()); err != nil {
					t.Errorf("Status: %v", err)
				}
				if _, err := c.Attacks(t.Context()); err != nil {
					t.Errorf("Attacks: %v", err)
				}
			}
		})
	}
	for seq := range uint32(1000) {
		f.publish(sdk.Event{Seq: seq})
	}
	all.Wait()
}

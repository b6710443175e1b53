package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func dial(t *testing.T, root string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(root, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

const get = "GET /metrics HTTP/1.1\r\nHost: x\r\n"

// Requests that never end and connections that say nothing are cut off.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	_, root := serve(t, defaults())
	for _, text := range []string{"", "GET /met", get, get + "X: y"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, root)
			send(t, conn, text)
			began := time.Now()
			if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading until the server hangs up: %v", err)
			}
			if d := time.Since(began); d > 2*readTimeout {
				t.Errorf("hung up after %v only", d)
			}
		})
	}
}

func TestHugeHeader(t *testing.T) {
	t.Parallel()
	_, root := serve(t, defaults())
	conn := dial(t, root)
	send(t, conn, get+"X: "+strings.Repeat("y", 2*maxHeader)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
}

// Connections beyond the bound wait for one to end.
func TestConnections(t *testing.T) {
	t.Parallel()
	_, root := serve(t, defaults())
	var open []net.Conn
	for range maxConnections {
		conn := dial(t, root)
		send(t, conn, get+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		open = append(open, conn)
	}
	late := dial(t, root)
	send(t, late, get+"Connection: close\r\n\r\n")
	if err := late.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := late.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes for one connection too many", n)
	}
	open[0].Close()
	if err := late.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(late); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		t.Errorf("after one has gone: %v, %.100q", err, b)
	}
}

// A client that stops reading does not hold up the end.
func TestCloseWithStuckClient(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.MaxSeries, c.TopHosts = maxMaxSeries, maxTopHosts
	e := newExporter(c, testLog(t))
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s sdk.Snapshot
	for i := range 2500 { // far more than the sockets' buffers hold
		s.Hosts = append(s.Hosts, sdk.HostRate{
			Host: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), Direction: "incoming", Counters: counters(1),
		})
	}
	export(t, e, s)
	conn := dial(t, "http://"+e.server.address.String())
	if err := conn.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	send(t, conn, get+"\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	// Closing waits for nobody for ever: this client reads no more.
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.Health(t.Context()); err != nil {
		t.Errorf("an end that was asked for is no failure: %v", err)
	}
}

// Scrapes, snapshots and events at the same time.
func TestConcurrent(t *testing.T) {
	e, root := serve(t, defaults())
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	writers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			export(t, e, sample())
			if err := e.Events(t.Context(), []sdk.Event{attack(fmt.Sprintf("10.0.0.%d/32", i%256), "incoming", fmt.Sprint(i), 1)}); err != nil {
				t.Error(err)
			}
		}
	})
	answered := make(chan int, 80)
	for range 8 {
		readers.Go(func() {
			for range 10 {
				status, _, _ := request(t, http.MethodGet, root+"/metrics")
				answered <- status
			}
		})
	}
	readers.Wait()
	close(stop)
	writers.Wait()
	close(answered)
	ok := 0
	for status := range answered {
		switch status {
		case http.StatusOK:
			ok++
		case http.StatusServiceUnavailable: // more than maxScrapes at once
		default:
			t.Errorf("status %d", status)
		}
	}
	if ok == 0 || e.errors.Load() > 0 {
		t.Errorf("%d scrapes answered, %d errors", ok, e.errors.Load())
	}
}

// brokenListener fails for good, as one whose descriptor has gone.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("bad file descriptor") }

func TestListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newExporter(defaults(), testLog(t))
	e.server = newServer(brokenListener{l}, e)
	<-e.server.ended
	if err := e.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "bad file descriptor") {
		t.Errorf("health: %v", err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

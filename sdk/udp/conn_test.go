package udp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// listen opens one socket for a test.
func listen(t testing.TB, address string, o Options) *Conn {
	t.Helper()
	conns, err := Listen(address, 1, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conns[0].Close() })
	return conns[0]
}

// dial opens a socket that sends to a Conn.
func dial(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c *net.UDPConn, data []byte) {
	t.Helper()
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReceivedCountsWhateverComes(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{Coalesce: -1})
	if n, ago := c.Received(); n != 0 || ago != 0 {
		t.Errorf("before anything came: %d, %v ago", n, ago)
	}
	from := dial(t, c.LocalAddr())
	for range 3 {
		send(t, from, nil)
	}
	for got := 0; got < 3; {
		batch, err := c.Receive(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		got += len(batch)
	}
	if n, ago := c.Received(); n != 3 || ago < 0 || ago > time.Minute {
		t.Errorf("%d datagrams, %v ago", n, ago)
	}
}

func TestReceiveGivesDataAndSource(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			c := listen(t, address, Options{Coalesce: -1})
			from := dial(t, c.LocalAddr())
			want := from.LocalAddr().(*net.UDPAddr).AddrPort()
			for _, size := range []int{0, 1, 1464, 9000, 65000} {
				data := make([]byte, size)
				for i := range data {
					data[i] = byte(i * size)
				}
				send(t, from, data)
				batch, err := c.Receive(soon(t))
				if err != nil || len(batch) != 1 {
					t.Fatalf("%d octets: %d datagrams, %v", size, len(batch), err)
				}
				d := batch[0]
				if string(d.Data) != string(data) || d.From != want || d.Truncated {
					t.Errorf("%d octets: got %d from %v, truncated %v; want them from %v", size, len(d.Data), d.From, d.Truncated, want)
				}
			}
		})
	}
}

func TestAllInOrder(t *testing.T) {
	const n = 1000
	c := listen(t, "127.0.0.1:0", Options{Batch: 16})
	from := dial(t, c.LocalAddr())
	go func() {
		var b [4]byte
		for i := range uint32(n) {
			binary.BigEndian.PutUint32(b[:], i)
			_, _ = from.Write(b[:])
			if i%100 == 99 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	ctx := soon(t)
	for next := uint32(0); next < n; {
		batch, err := c.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) > 16 {
			t.Fatalf("a batch of %d", len(batch))
		}
		for _, d := range batch {
			if got := binary.BigEndian.Uint32(d.Data); got != next {
				t.Fatalf("got %d, want %d", got, next)
			}
			next++
		}
	}
}

func TestContextEndsReceive(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{Coalesce: time.Hour})
	for range 3 { // the socket serves the next context too
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := c.Receive(ctx)
			done <- err
		}()
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Receive goes on after its context has ended")
		}
	}
	if _, err := c.Receive(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that had ended: %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestCloseEndsReceive(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{})
	done := make(chan error, 1)
	go func() {
		_, err := c.Receive(context.Background())
		done <- err
	}()
	time.Sleep(time.Millisecond)
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	taken := listen(t, "127.0.0.1:0", Options{}).LocalAddr().String()
	for _, c := range []struct {
		address string
		sockets int
		want    string
	}{
		{"2055", 1, "write an IP address and a port"},
		{"localhost:2055", 1, "write an IP address and a port"},
		{taken, 1, "another program has this port"},
		{taken, 4, "another program has this port"},
		{"192.0.2.1:0", 1, "does not have the address"},
	} {
		conns, err := Listen(c.address, c.sockets, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) {
			t.Errorf("%s: %d sockets, %v; want an error with %q and the address", c.address, len(conns), err, c.want)
		}
	}
}

func TestBufferAsGranted(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{ReceiveBuffer: 16 << 10})
	if asked, granted := c.Granted(); asked != 16<<10 || granted < asked || c.Advice() != "" {
		t.Errorf("asked %d, granted %d, advice %q", asked, granted, c.Advice())
	}
	c.asked = 1 << 30
	if a := c.Advice(); !strings.Contains(a, "1073741824") || !strings.Contains(a, "sysctl") {
		t.Errorf("advice %q", a)
	}
}

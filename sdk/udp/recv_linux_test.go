package udp

import (
	"context"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSocketsShareAPort(t *testing.T) {
	conns, err := Listen("127.0.0.1:0", 4, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 256)
	ctx, cancel := context.WithCancel(context.Background())
	for i, c := range conns {
		defer c.Close()
		go func() {
			for {
				batch, err := c.Receive(ctx)
				if err != nil {
					return
				}
				for range batch {
					got <- i
				}
			}
		}()
	}
	const sources = 64
	for range sources {
		send(t, dial(t, conns[0].LocalAddr()), []byte("x"))
	}
	used := map[int]int{}
	for range sources {
		select {
		case i := <-got:
			used[i]++
		case <-time.After(20 * time.Second):
			t.Fatalf("datagrams are missing: %v", used)
		}
	}
	cancel()
	if len(used) < 2 {
		t.Errorf("all %d sources came to one socket", sources)
	}
}

func TestCoalesces(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{Coalesce: 500 * time.Millisecond, ReceiveBuffer: 64 << 20})
	if c.longest < 100*time.Millisecond {
		c.longest, c.pause = 500*time.Millisecond, 500*time.Millisecond // whatever buffer was granted
	}
	from := dial(t, c.LocalAddr())
	go func() {
		for range 50 {
			_, _ = from.Write([]byte("x"))
			time.Sleep(time.Millisecond)
		}
	}()
	wakes := 0
	for n := 0; n < 50; wakes++ {
		batch, err := c.Receive(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		n += len(batch)
	}
	if wakes > 10 {
		t.Errorf("50 datagrams came in %d batches", wakes)
	}
}

func TestFullBatchesDoNotWait(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{Batch: 8, Coalesce: time.Hour})
	c.pause, c.longest = 0, time.Hour
	from := dial(t, c.LocalAddr())
	for range 64 {
		send(t, from, []byte("x"))
	}
	for range 8 {
		batch, err := c.Receive(soon(t))
		if err != nil || len(batch) != 8 {
			t.Fatalf("%d datagrams, %v", len(batch), err)
		}
	}
}

func TestOverflowIsCounted(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{ReceiveBuffer: 8 << 10, Coalesce: -1})
	from := dial(t, c.LocalAddr())
	const sent = 500
	for range sent {
		send(t, from, make([]byte, 1000))
	}
	lost := c.Overflow()
	if lost == 0 {
		t.Fatal("no loss is told")
	}
	if again := c.Overflow(); again != 0 {
		t.Errorf("%d lost datagrams are told twice", again)
	}
	got := 0
	for got+int(lost) < sent {
		batch, err := c.Receive(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		got += len(batch)
	}
	if got+int(lost) != sent {
		t.Errorf("%d received and %d lost of %d", got, lost, sent)
	}
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Options{Coalesce: -1})
	from := dial(t, c.LocalAddr())
	ctx := soon(t)
	data := make([]byte, 100)
	allocs := testing.AllocsPerRun(200, func() {
		for range 4 {
			_, _ = from.Write(data)
		}
		for n := 0; n < 4; {
			batch, err := c.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n += len(batch)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 4 datagrams", allocs)
	}
}

// feed sends datagrams to an address, as fast as it can, until stopped.
func feed(b *testing.B, to *net.UDPAddr) (stop func()) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		addr := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}}
		data := make([]byte, 1464) // a full NetFlow v5 datagram
		for {
			select {
			case <-done:
				return
			default:
			}
			for range 64 {
				_ = unix.Sendto(fd, data, 0, addr)
			}
		}
	}()
	return func() { close(done); <-ended; unix.Close(fd) }
}

func BenchmarkReceive(b *testing.B) {
	c := listen(b, "127.0.0.1:0", Options{})
	stop := feed(b, net.UDPAddrFromAddrPort(c.LocalAddr()))
	defer stop()
	ctx := context.Background()
	var octets int
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		batch, err := c.Receive(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for i := range batch {
			octets += len(batch[i].Data)
		}
		n += len(batch)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
}

// BenchmarkBare is the least that can be done: recvmmsg on a blocking socket
// and nothing else.
func BenchmarkBare(b *testing.B) {
	c := listen(b, "127.0.0.1:0", Options{})
	stop := feed(b, net.UDPAddrFromAddrPort(c.LocalAddr()))
	defer stop()
	var octets int
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&c.msgs[0])), uintptr(len(c.msgs)), unix.MSG_WAITFORONE, 0, 0)
		if errno != 0 {
			b.Fatal(errno)
		}
		for i := range c.msgs[:got] {
			octets += int(c.msgs[i].len)
		}
		n += int(got)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
}

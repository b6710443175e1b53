package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// bareHosts are so few that counting them costs little.
const bareHosts = 1000

// BenchmarkPeerBareLoop prints what share of the records that a loop receives
// which does nothing else this program processes, on the same core.
func BenchmarkPeerBareLoop(b *testing.B) {
	if os.Getenv("FASTNETMON_PEER") == "" {
		b.Skip("it needs two cores of its own, as the comparison with FastNetMon Community does; make bench-peer runs both")
	}
	for b.Loop() {
		fmt.Printf("\nM records/s in overload, %d hosts\n%-9s %9s %10s %9s %6s\n", bareHosts, "protocol", "offered", "bare loop", "ours", "ratio")
		for _, protocol := range []string{"netflow5", "netflow9", "ipfix", "sflow"} {
			bare := bareLoop(b, protocol)
			ours, offered := wholeProgram(b, protocol)
			fmt.Printf("%-9s %9.3g %10.3g %9.3g %6.2f\n", protocol, offered/1e6, bare/1e6, ours/1e6, ours/bare)
		}
	}
}

// wholeProgram floods the program and returns the records a second that it
// processed, and those offered.
func wholeProgram(b *testing.B, protocol string) (processed, offered float64) {
	b.Helper()
	who, port := &itself{}, freeUDP(b)
	who.start(b, protocol, port)
	defer who.stop(b)
	play(b, protocol, port, 100_000, bareHosts, peerPlay/3)
	settle(b, who)
	before := who.processed(b)
	s := play(b, protocol, port, 0, bareHosts, peerPlay)
	settle(b, who)
	return float64(who.processed(b)-before) / s.seconds, s.records / s.seconds
}

// bareLoop floods a loop that receives datagrams as a capture does, and
// returns the records a second in them.
func bareLoop(b *testing.B, protocol string) float64 {
	b.Helper()
	conns, err := udp.Listen("127.0.0.1:0", 1, udp.Options{Coalesce: -1})
	if err != nil {
		b.Fatal(err)
	}
	var datagrams atomic.Uint64
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never to be unlocked: the thread ends with the goroutine
		var first unix.CPUSet
		first.Set(0)
		err := unix.SchedSetaffinity(0, &first)
		for err == nil {
			var batch []udp.Datagram
			batch, err = conns[0].Receive(b.Context())
			datagrams.Add(uint64(len(batch)))
		}
		failed <- err
	}()
	s := play(b, protocol, int(conns[0].LocalAddr().Port()), 0, bareHosts, peerPlay)
	received := float64(datagrams.Load())
	if err := conns[0].Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		b.Fatal(err)
	}
	return received * s.records / s.datagrams / s.seconds
}

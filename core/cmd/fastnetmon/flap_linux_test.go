package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const flapConfig = `
daemon {
  mode        = "enforce"
  runtime_dir = "%[1]s/run"
  state_dir   = "%[1]s/state"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]
  average  = "1s"

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
}

exporter "router" {
  source = "127.0.0.1"
}

capture "netflow" "routers" {
  listen    = ["127.0.0.1:2055"]
  exporters = [exporter.router]
}

action "script" "ban" {
  role    = "mitigate"
  command = ["%[2]s"]
}

pipeline "main" {
  captures = [capture.netflow.routers]
  actions  = [action.script.ban]
}
`

// A link goes down and comes back under traffic of half the limit: nobody is
// banned for that. The target of a flood afterwards is.
func TestLinkFlapBansNobody(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread's network ends with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		sdktest.Absent(t, "this user may not make a network namespace: "+err.Error())
	}
	link := func(state string) {
		t.Helper()
		if out, err := exec.Command("ip", "link", "set", "lo", state).CombinedOutput(); err != nil {
			t.Fatalf("ip link: %v: %s", err, out)
		}
	}
	link("up")
	dir := t.TempDir()
	script, calls := filepath.Join(dir, "ban.sh"), filepath.Join(dir, "calls")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$@\" >> "+calls+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, "flap.hcl", fmt.Sprintf(flapConfig, dir, script))
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures=1")
	router, err := net.Dial("udp", "127.0.0.1:2055")
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	sequence := uint32(0)
	// send tells of so many packets a second for a while. What is sent while the
	// link is down goes nowhere.
	send := func(pps int, during time.Duration) {
		for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			sequence++
			_, _ = router.Write(oneFlow(sequence, uint32(pps/20)))
		}
	}
	send(10000, 4*time.Second)
	link("down")
	send(10000, 3*time.Second)
	link("up")
	send(10000, 5*time.Second)
	if row := balanced(t, config); row.Received > uint64(sequence)-30 {
		t.Errorf("%d of %d datagrams came in: the link was not down", row.Received, sequence)
	}
	if text, err := os.ReadFile(calls); err == nil {
		t.Errorf("the script was called: %s\n%s", text, l.stderr)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		send(100000, 200*time.Millisecond)
		if _, err := os.Stat(calls); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the flood is not found\n%s", l.stderr)
		}
	}
	l.stop(t)
}

// oneFlow is a NetFlow v5 datagram with one flow, of a moment, to a host of
// ours.
func oneFlow(sequence, packets uint32) []byte {
	b := make([]byte, 24+48)
	put16, put32 := binary.BigEndian.PutUint16, binary.BigEndian.PutUint32
	now := time.Now()
	put16(b[0:], 5)
	put16(b[2:], 1)
	put32(b[4:], 1e6)
	put32(b[8:], uint32(now.Unix()))
	put32(b[12:], uint32(now.Nanosecond()))
	put32(b[16:], sequence)
	r := b[24:]
	from, to := netip.MustParseAddr("198.51.100.1").As4(), netip.MustParseAddr("203.0.113.7").As4()
	copy(r[0:], from[:])
	copy(r[4:], to[:])
	put32(r[16:], packets)
	put32(r[20:], packets*100)
	put32(r[24:], 1e6-10)
	put32(r[28:], 1e6-10)
	put16(r[32:], 1234)
	put16(r[34:], 53)
	r[38] = 17
	return b
}

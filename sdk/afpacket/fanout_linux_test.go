package afpacket

import (
	"context"
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// bpf calls bpf(2) with a request.
func bpf[T any](t *testing.T, command uintptr, request *T) int {
	t.Helper()
	n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(request)), unsafe.Sizeof(*request))
	if errno != 0 {
		t.Fatalf("bpf(%d): %v", command, errno)
	}
	return int(n)
}

// pinnedProgram loads an extended program that returns the last bit of an IPv4
// source address, and pins it.
func pinnedProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		sdktest.Absent(t, "a BPF file system cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ne := binary.NativeEndian
	var code []byte
	for _, in := range []struct {
		op, registers byte
		k             int32
	}{{0xbf, 0x16, 0}, {0x30, 0, -0x100000 + 15}, {0x57, 0, 1}, {0x95, 0, 0}} { // r6 = r1; r0 = ldb; r0 &= 1; exit
		code = ne.AppendUint32(append(code, in.op, in.registers, 0, 0), uint32(in.k))
	}
	license, path := []byte("Dual MIT/GPL\x00"), append([]byte(filepath.Join(dir, "spread")), 0)
	load := struct {
		kind, count   uint32
		code, license uint64
	}{unix.BPF_PROG_TYPE_SOCKET_FILTER, uint32(len(code) / 8), uint64(uintptr(unsafe.Pointer(&code[0]))), uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd := bpf(t, unix.BPF_PROG_LOAD, &load)
	defer unix.Close(fd)
	pin := struct {
		path      uint64
		fd, flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(&path[0]))), fd: uint32(fd)}
	bpf(t, unix.BPF_OBJ_PIN, &pin)
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return string(path[:len(path)-1])
}

// Programs of either kind say which worker gets a frame.
func TestFanoutPrograms(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	const frames = 300
	if out, err := exec.Command("sh", "-ec", "ip link add out type veth peer name in; for i in in out; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6 || true; ip link set $i up; done").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	classic, err := ParseProgram("3,48 0 0 4293918735,84 0 0 1,22 0 0 0")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Fanout: FanoutCBPF, Spread: classic}, {Fanout: FanoutEBPF, SpreadFile: pinnedProgram(t)}} {
		t.Run(o.Fanout.String(), func(t *testing.T) {
			o.Interfaces, o.Workers, o.RingSize = []string{"in"}, 2, MinRingSize
			c := New(o)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			var sinks [2]sink
			for i, k := range c.workers {
				running.Go(func() { k.run(ctx, &sinks[i], nil) })
			}
			await := func(what string, holds func() bool) {
				t.Helper()
				for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						cancel()
						running.Wait()
						t.Fatalf("not %s: %v", what, c.Health(ctx))
					}
				}
			}
			await("open", func() bool { return c.ports[0].rings() == 2 })
			send, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(send)
			link, err := findLink("out")
			if err != nil {
				t.Fatal(err)
			}
			for i := range frames {
				frame := udpFrame()
				if frame[29] = 2; i%3 == 0 { // the address
					frame[29] = 5
				}
				if err := unix.Sendto(send, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
					t.Fatal(err)
				}
			}
			taken := func(i int) uint64 { return c.workers[i].tally.packets.Load() }
			await("all received", func() bool { return taken(0)+taken(1) >= frames })
			cancel()
			running.Wait()
			// Whichever joined first is number 0.
			few, many := min(sinks[0].packets, sinks[1].packets), max(sinks[0].packets, sinks[1].packets)
			if few != frames/3 || many != frames-frames/3 {
				t.Errorf("one worker has %d frames, the other %d, of %d", few, many, frames)
			}
		})
	}
}

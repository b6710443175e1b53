package afpacket

import (
	"os/exec"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// siocSetName renames an interface (SIOCSIFNAME, linux/sockios.h).
const siocSetName = 0x8923

// An interface that comes while it is looked for is there or is not.
func TestFindLinkThatComes(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	if out, err := exec.Command("sh", "-ec", "ip link add here type veth peer name other").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	over := make(chan struct{})
	var renaming sync.WaitGroup
	renaming.Go(func() {
		for from, to := "here", "away"; ; from, to = to, from {
			select {
			case <-over:
				return
			default:
			}
			if err := rename(fd, from, to); err != nil {
				t.Errorf("renaming %s to %s: %v", from, to, err)
				return
			}
		}
	})
	for range 3000 {
		if link, err := findLink("here"); link == nil && err == nil {
			t.Error("neither an interface nor an error")
			break
		}
	}
	close(over)
	renaming.Wait()
}

// rename gives an interface that is down another name.
func rename(fd int, from, to string) error {
	var req struct {
		from [unix.IFNAMSIZ]byte
		to   [unix.IFNAMSIZ + 8]byte
	}
	copy(req.from[:], from)
	copy(req.to[:], to)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocSetName, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// A worker whose filter the kernel refuses leaves the others' group again.
func TestRefusedFilterLeaves(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	o := Options{Workers: 2, RingSize: MinRingSize, Filter: Program{{Code: 0xffff}, {Code: retK}}}
	o.normal()
	var all team
	if s, err := open(&o, "lo", &all); err == nil {
		s.close()
		t.Fatal("the kernel takes a filter that it does not know")
	}
	if all.members != 0 {
		t.Errorf("%d members of a group whose only socket is closed", all.members)
	}
}

package afpacket

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// team is the workers of one interface, whose sockets form a fanout group.
type team struct {
	mu      sync.Mutex
	members int
	id      int // of the group; -1 while there is none
}

var fanoutModes = [...]int{
	FanoutHash: unix.PACKET_FANOUT_HASH, FanoutLoadBalance: unix.PACKET_FANOUT_LB, FanoutCPU: unix.PACKET_FANOUT_CPU,
	FanoutRollover: unix.PACKET_FANOUT_ROLLOVER, FanoutRandom: unix.PACKET_FANOUT_RND, FanoutQueueMapping: unix.PACKET_FANOUT_QM,
	FanoutCBPF: unix.PACKET_FANOUT_CBPF, FanoutEBPF: unix.PACKET_FANOUT_EBPF,
}

// join adds a socket to the group. The first member has the kernel choose a
// number that nobody uses.
func (t *team) join(fd int, o *Options) error {
	if o.Workers <= 1 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	mode := fanoutModes[o.Fanout]
	if t.members > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, t.id|mode<<16); err != nil {
			return err
		}
		t.members++
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|unix.PACKET_FANOUT_FLAG_UNIQUEID)<<16); err != nil {
		return err
	}
	v, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return err
	}
	if err := o.spread(fd); err != nil {
		return err
	}
	t.id, t.members = v&0xffff, 1
	return nil
}

// spread gives a group that has just been made its program, if it is to have
// one.
func (o *Options) spread(fd int) error {
	switch o.Fanout {
	case FanoutCBPF:
		if err := attach(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, o.Spread); err != nil {
			return fmt.Errorf("the kernel refuses the program: %w", err)
		}
	case FanoutEBPF:
		program, err := pinned(o.SpreadFile)
		if err != nil {
			return fmt.Errorf("opening the pinned program %s: %w", o.SpreadFile, err)
		}
		defer unix.Close(program)
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, program); err != nil {
			return fmt.Errorf("the kernel refuses the program %s, which must be one for sockets: %w", o.SpreadFile, err)
		}
	}
	return nil
}

// pinned opens a program that lies in a BPF file system.
func pinned(path string) (fd int, err error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	request := struct {
		path  uint64
		fd    uint32
		flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(name)))}
	n, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET, uintptr(unsafe.Pointer(&request)), unsafe.Sizeof(request))
	runtime.KeepAlive(name)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// leave is for a socket that has joined and is closed.
func (t *team) leave(o *Options) {
	if o.Workers <= 1 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.members--
}

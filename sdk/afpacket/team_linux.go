package afpacket

import (
	"sync"

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
	t.id, t.members = v&0xffff, 1
	return nil
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

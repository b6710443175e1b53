package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Where things lie in a block and in a frame's header (linux/if_packet.h,
// struct tpacket_block_desc and tpacket3_hdr).
const (
	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16
	blockSeq    = 24
	blockLastTS = 40
	blockHeader = 48

	frameNext   = 0
	frameSec    = 4
	frameNsec   = 8
	frameSnap   = 12
	frameWire   = 16
	frameStatus = 20
	frameMAC    = 24
	frameTCI    = 32
	frameTPID   = 36
	frameSLL    = 48 // sockaddr_ll
	frameType   = frameSLL + 10
	frameHeader = frameSLL + 12
	vnetHeader  = vnetSize // before the frame
	tagSize     = 4
	statusUser  = unix.TP_STATUS_USER
	frameSlot   = 2048 // the kernel wants a size of frames, which TPACKET_V3 does not use
	tpidValid   = unix.TP_STATUS_VLAN_TPID_VALID
	tagValid    = unix.TP_STATUS_VLAN_VALID
)

// errGone says that an interface cannot be captured for now.
type errGone struct{ text string }

func (e *errGone) Error() string { return e.text }

// socket is a packet socket with its ring.
type socket struct {
	fd    int
	link  traffic.LinkType // of its frames
	mem   []byte
	count int // blocks
	seen  statistics
}

// statistics is what the kernel has counted for a socket.
type statistics struct{ packets, drops uint64 }

// open makes a socket of a worker that receives from an interface.
func open(o *Options, name string, team *team) (_ *socket, err error) {
	link, err := findLink(name)
	switch {
	case err != nil:
		return nil, err
	case link.Flags&net.FlagUp == 0:
		return nil, &errGone{fmt.Sprintf("the interface %s is down: set it up with \"ip link set %s up\"", name, name)}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, errors.New("opening a packet socket is not permitted: the process needs the capability CAP_NET_RAW")
	}
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	s := &socket{fd: fd, count: max(2, o.RingSize/blockSize)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.link, err = linkType(fd, name); err != nil {
		return nil, err
	}
	if err := s.prepare(o, link); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index}); err != nil {
		return nil, fmt.Errorf("interface %s: binding the socket: %w", name, err)
	}
	if err := team.join(fd, o); err != nil {
		if errors.Is(s.failure(), unix.ENETDOWN) {
			return nil, &errGone{"the interface " + name + " went down"}
		}
		return nil, fmt.Errorf("interface %s: joining the other workers (PACKET_FANOUT, mode %v): %w", name, o.Fanout, err)
	}
	// Until now the socket took nothing: without the others it would have
	// taken what is theirs.
	if err := s.filter(o.program(s.link)); err != nil {
		team.leave(o)
		return nil, fmt.Errorf("interface %s: the kernel refuses the filter: %w", name, err)
	}
	return s, nil
}

// htons is a number in network order.
func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// prepare does what comes before a socket receives.
func (s *socket) prepare(o *Options, link *net.Interface) error {
	set := func(what string, opt, value int) error {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, opt, value); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if err := set("asking for TPACKET_V3", unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return err
	}
	if err := set("asking for PACKET_VNET_HDR", unix.PACKET_VNET_HDR, 1); err != nil {
		return err
	}
	// On the loopback interface a frame that goes out comes in, too.
	if o.Direction == Receive || o.Direction == Both && link.Flags&net.FlagLoopback != 0 {
		if err := set("asking for PACKET_IGNORE_OUTGOING (Linux 4.20)", unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
	}
	if err := s.filter(dropAll); err != nil {
		return err
	}
	if err := s.makeRing(o.Delay); err != nil {
		return err
	}
	if o.Promiscuous {
		mreq := unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return fmt.Errorf("setting the interface promiscuous: %w", err)
		}
	}
	return nil
}

// makeRing asks for the ring, smaller if the kernel has no memory for it.
func (s *socket) makeRing(delay time.Duration) error {
	for {
		req := unix.TpacketReq3{
			Block_size: blockSize, Block_nr: uint32(s.count), Frame_size: frameSlot,
			Frame_nr: uint32(blockSize / frameSlot * s.count), Retire_blk_tov: uint32(max(1, delay.Milliseconds())),
		}
		err := unix.SetsockoptTpacketReq3(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req)
		if errors.Is(err, unix.ENOMEM) && s.count > 4 {
			s.count /= 2
			continue
		}
		if err != nil {
			return fmt.Errorf("making a ring of %d octets: %w", blockSize*s.count, err)
		}
		if s.mem, err = unix.Mmap(s.fd, 0, blockSize*s.count, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return fmt.Errorf("mapping the ring: %w", err)
		}
		return nil
	}
}

// filter attaches a program, in place of the one before.
func (s *socket) filter(p Program) error {
	return attach(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, p)
}

// attach hands a program to the kernel, as an option of a socket.
func attach(fd, level, option int, p Program) error {
	filter := make([]unix.SockFilter, len(p))
	for i, in := range p {
		filter[i] = unix.SockFilter{Code: in.Code, Jt: in.JT, Jf: in.JF, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, level, option, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// failure is what has gone wrong with the socket since it was asked last.
func (s *socket) failure() error {
	n, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

// statistics asks the kernel what it has counted, and returns what is new.
func (s *socket) statistics() (fresh statistics) {
	st, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fresh
	}
	fresh = statistics{uint64(st.Packets), uint64(st.Drops)}
	s.seen.packets += fresh.packets
	s.seen.drops += fresh.drops
	return fresh
}

func (s *socket) block(i int) []byte { return s.mem[i*blockSize : (i+1)*blockSize : (i+1)*blockSize] }

// status is the word that says whose a block is.
func (s *socket) status(i int) *uint32 {
	return (*uint32)(unsafe.Pointer(&s.mem[i*blockSize+blockStatus]))
}

// sequence is the number that a block has from when the kernel begins to write
// into it until it begins anew.
func (s *socket) sequence(i int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.mem[i*blockSize+blockSeq])))
}

// ours reports whether the kernel has handed a block over.
func (s *socket) ours(i int) bool { return atomic.LoadUint32(s.status(i))&statusUser != 0 }

// release hands a block back.
func (s *socket) release(i int) { atomic.StoreUint32(s.status(i), unix.TP_STATUS_KERNEL) }

// wait waits until a block is ours or something else has happened.
func (s *socket) wait(most time.Duration) (failed bool) {
	fds := [1]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN | unix.POLLERR}}
	n, err := unix.Poll(fds[:], int(most.Milliseconds()))
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) != 0
}

// close gives everything back; membership and fanout end with the socket.
func (s *socket) close() {
	if s.mem != nil {
		_ = unix.Munmap(s.mem)
	}
	_ = unix.Close(s.fd)
}

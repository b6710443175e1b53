package afpacket

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// findLink finds an interface, or says which one may have been meant. It looks
// once: the interface may come, or go, meanwhile.
func findLink(name string) (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing the interfaces: %w", err)
	}
	names := make([]string, len(all))
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
		names[i] = all[i].Name
	}
	return nil, &errGone{absent(name, names)}
}

// Missing is nil if there is an interface of a name; else it says which one may
// have been meant.
func Missing(name string) error {
	_, err := findLink(name)
	return err
}

// The types of link (linux/if_arp.h) whose frames begin with an Ethernet
// header, and of those that begin with the IP header.
var (
	etherTypes = []uint16{1, 772}                                          // ARPHRD_ETHER, ARPHRD_LOOPBACK
	rawTypes   = []uint16{65534, 65535, 512, 768, 769, 776, 778, 823, 519} // ARPHRD_NONE (tun), VOID, PPP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, RAWIP
)

// linkType is how an interface's frames begin.
func linkType(fd int, name string) (traffic.LinkType, error) {
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, req)
	}
	if err != nil {
		return 0, fmt.Errorf("interface %s: asking for its type: %w", name, err)
	}
	switch t := req.Uint16(); {
	case slices.Contains(etherTypes, t):
		return traffic.LinkEthernet, nil
	case slices.Contains(rawTypes, t):
		return traffic.LinkRaw, nil
	default:
		return 0, fmt.Errorf("interface %s has frames that are not read (type %d of linux/if_arp.h): Ethernet, loopback, PPP and IP tunnels are", name, t)
	}
}

// pin ties the calling thread to processors; where that fails it runs where it
// likes.
func pin(cpus []int) {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	_ = unix.SchedSetaffinity(0, &set)
}

// nodeCPUs are the processors near an interface's card; nil where there is no
// such thing.
func nodeCPUs(name string) []int {
	b, err := os.ReadFile(filepath.Join("/sys/class/net", name, "device/numa_node"))
	node, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || node < 0 {
		return nil
	}
	nodes, _ := filepath.Glob("/sys/devices/system/node/node[0-9]*")
	if len(nodes) < 2 {
		return nil
	}
	b, err = os.ReadFile(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", node))
	if err != nil {
		return nil
	}
	return parseCPUs(string(b))
}

// linkInfo is what the kernel says of an interface.
type linkInfo struct {
	flags                   uint16
	gro, lro, tso, gso      bool
	rings, maxRings, queues uint32 // of the card; 0 unknown
	missed                  uint64 // frames that the card dropped before anyone saw them
}

// inspect asks for what the kernel says of an interface.
func inspect(name string) (info linkInfo, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return info, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return info, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return info, err
	}
	info.flags = req.Uint16()
	on := func(command uint32) bool { v, ok := ethtool(fd, name, command, 2); return ok && v[1] != 0 }
	info.gro, info.gso, info.tso = on(unix.ETHTOOL_GGRO), on(unix.ETHTOOL_GGSO), on(unix.ETHTOOL_GTSO)
	if v, ok := ethtool(fd, name, unix.ETHTOOL_GFLAGS, 2); ok {
		info.lro = v[1]&(1<<15) != 0 // ETH_FLAG_LRO
	}
	if v, ok := ethtool(fd, name, unix.ETHTOOL_GRINGPARAM, 9); ok {
		info.maxRings, info.rings = v[1], v[5]
	}
	if v, ok := ethtool(fd, name, unix.ETHTOOL_GCHANNELS, 9); ok {
		info.queues = v[5] + v[8] // receive and combined
	}
	info.missed = missed(name)
	return info, nil
}

// ethtool asks the driver something (SIOCETHTOOL); the answer has so many
// words, the command first.
func ethtool(fd int, name string, command uint32, words int) ([]uint32, bool) {
	v := make([]uint32, words)
	v[0] = command
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&v[0])}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return v, errno == 0
}

// missed is what the card had no room for: the columns drop and fifo of what an
// interface has received.
func missed(name string) uint64 {
	f, err := os.Open("/proc/thread-self/net/dev")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		who, numbers, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(numbers); strings.TrimSpace(who) == name && len(fields) > 4 {
			fifo, _ := strconv.ParseUint(fields[4], 10, 64)
			return fifo
		}
	}
	return 0
}

// ownAddresses are those of this machine, sorted.
type ownAddresses struct{ list [][16]byte }

func machineAddresses() (*ownAddresses, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	own := &ownAddresses{}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			own.list = append(own.list, [16]byte(n.IP.To16()))
		}
	}
	slices.SortFunc(own.list, compareAddresses)
	return own, nil
}

func compareAddresses(a, b [16]byte) int {
	// The second half differs more often.
	if c := cmp.Compare(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:]))
}

// has looks an address up by halves.
func (o *ownAddresses) has(a *[16]byte) bool {
	lo, hi := 0, len(o.list)
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := compareAddresses(o.list[mid], *a); {
		case c == 0:
			return true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

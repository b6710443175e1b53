package pcapfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// odd is what the kernel may leave to Match, besides lengths.
const odd = true

// ethernetFrame puts a random packet into a frame, with its number in the
// packet's last octets, and tells whether it is one that the kernel need not
// judge.
func ethernetFrame(rng *rand.Rand, number int) (frame []byte, isOdd bool) {
	ip := packet(rng)
	kind, head := uint16(etherIPv4), make([]byte, 12, etherHeader)
	if ip[0]>>4 == 6 {
		kind = etherIPv6
	}
	head[0], head[6], head[11] = 2, 2, 1
	tag := func(tpid uint16) {
		head = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(head, tpid), uint16(rng.IntN(8)<<13|rng.IntN(3)))
	}
	switch rng.IntN(12) {
	case 0, 1, 2:
		tag(0x8100)
	case 3, 4:
		tag(0x88a8)
		tag(0x8100)
	case 5:
		tag(0x9100) // which the kernel leaves in the frame
	case 6:
		for range 4 {
			tag(0x8100)
		}
		isOdd = odd
	case 7:
		head, kind = binary.BigEndian.AppendUint16(head, 0x8847), 0
		head, isOdd = append(head, 0, 1, 1, 64), odd // one label
	case 8:
		if kind == etherIPv6 { // a header with padding
			ip = slices.Concat(ip[:ipv6Header], []byte{ip[6], 0, 1, 4, 0, 0, 0, 0}, ip[ipv6Header:])
			ip[6], isOdd = 60, odd
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Header))
		}
	case 9:
		if kind == etherIPv4 { // options
			ip = slices.Concat(ip[:ipv4Header], make([]byte, 8), ip[ipv4Header:])
			ip[0] = 0x47
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		}
	case 10:
		if kind == etherIPv4 && rng.IntN(2) == 0 { // the packet ends before its ports, the frame does not
			binary.BigEndian.PutUint16(ip[2:], ipv4Header+uint16(rng.IntN(4)))
			isOdd = odd
		}
	}
	if kind != 0 {
		head = binary.BigEndian.AppendUint16(head, kind)
	}
	frame = append(head, ip...)
	binary.BigEndian.PutUint32(frame[len(frame)-4:], uint32(number))
	return frame, isOdd
}

// listen opens a packet socket with a program.
func listen(t *testing.T, link *net.Interface, program []Instruction) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatal(err)
	}
	if program != nil {
		filter := make([]unix.SockFilter, len(program))
		for i, in := range program {
			filter[i] = unix.SockFilter{Code: in.Code, Jt: in.JT, Jf: in.JF, K: in.K}
			if in.Code == bpfReturn && in.K > 0 {
				filter[i].K = 0x40000
			}
		}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
			t.Fatalf("the kernel refuses the program: %v\n%v", err, program)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: link.Index}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// received adds the numbers of the frames that wait in a socket.
func received(t *testing.T, fd int, to map[int]bool) {
	t.Helper()
	b := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			t.Fatal(err)
		}
		to[int(binary.BigEndian.Uint32(b[n-4:]))] = true
	}
}

// Random expressions in the kernel, on random frames over a cable, which takes
// the tags out of them: what matches comes through, and what does not, does not,
// unless it is one of those that are left to Match.
func TestKernel(t *testing.T) {
	if !sdktest.InNamespace(t) {
		return
	}
	if out, err := exec.Command("sh", "-ec", "ip link add out type veth peer name in; for i in in out; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6 || true; ip link set $i up; done").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in, err := net.InterfaceByName("in")
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.InterfaceByName("out")
	if err != nil {
		t.Fatal(err)
	}
	const expressions, frames = 150, 250
	rng := rand.New(rand.NewPCG(3, 5))
	type filter struct {
		text     string
		p        *Program
		fd       int
		lengths  bool
		received map[int]bool
	}
	// The first socket gets a frame last: what it has, all have.
	all := listen(t, in, nil)
	var filters []*filter
	for len(filters) < expressions {
		f := &filter{text: randomExpression(rng, 3), received: map[int]bool{}}
		switch rng.IntN(5) {
		case 0:
			f.text = fmt.Sprintf("vlan %d and (%s)", 1+rng.IntN(2), f.text)
		case 1:
			f.text = fmt.Sprintf("not vlan or (%s)", f.text)
		}
		if f.p, err = Compile(f.text); err != nil {
			t.Fatalf("%s\n%v", f.text, err)
		}
		f.lengths = strings.Contains(f.text, "len") || strings.Contains(f.text, "less") || strings.Contains(f.text, "greater") || strings.Contains(f.text, "ip[2:2]")
		program := f.p.Kernel(traffic.LinkEthernet)
		if program == nil {
			t.Fatalf("%s: no program", f.text)
		}
		f.fd = listen(t, in, program)
		filters = append(filters, f)
	}
	send := listen(t, out, nil)
	records, isOdd := make([]traffic.Record, frames), make([]bool, frames)
	for i := range frames {
		var frame []byte
		frame, isOdd[i] = ethernetFrame(rng, i)
		if got := (&traffic.Parser{}).Ethernet(&records[i], frame, len(frame)); got != traffic.OK {
			t.Fatalf("frame %x: %v", frame, got)
		}
		if _, err := unix.Write(send, frame); err != nil {
			t.Fatal(err)
		}
	}
	everything := map[int]bool{}
	for deadline := time.Now().Add(20 * time.Second); len(everything) < frames; time.Sleep(time.Millisecond) {
		if received(t, all, everything); time.Now().After(deadline) {
			t.Fatalf("%d of %d frames came", len(everything), frames)
		}
	}
	through, kept := 0, 0
	for _, f := range filters {
		received(t, f.fd, f.received)
		for i := range frames {
			match, came := f.p.Match(&records[i]), f.received[i]
			if match && !came {
				t.Errorf("%s\nmatches %+v, which the kernel drops", f.text, records[i])
			}
			if came && !match && !isOdd[i] && !f.lengths {
				t.Errorf("%s\ndoes not match %+v, which the kernel lets through", f.text, records[i])
			}
			if match {
				through++
			} else if !came {
				kept++
			}
		}
	}
	t.Logf("of %d frames on %d filters %d match, %d of the others are dropped in the kernel", expressions*frames, expressions, through, kept)
	if through < expressions*frames/10 || kept < expressions*frames/4 {
		t.Error("these expressions tell too little apart")
	}
}

// What the kernel cannot help with has no program.
func TestNoKernel(t *testing.T) {
	for _, text := range []string{"", "host 10.0.0.1" + strings.Repeat(" or host 10.0.0.1", 500)} {
		p, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Kernel(traffic.LinkEthernet); got != nil {
			t.Errorf("%d octets of expression: %d instructions", len(text), len(got))
		}
	}
	p, err := Compile("udp")
	if err != nil {
		t.Fatal(err)
	}
	if p.Kernel(traffic.LinkRaw) == nil || p.Kernel(traffic.LinkPPP) != nil {
		t.Error("of IP there is a program, of PPP none")
	}
}

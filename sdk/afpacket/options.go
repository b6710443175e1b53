// Package afpacket receives frames with Linux's packet sockets (packet(7)):
// TPACKET_V3 rings, one with a thread of its own for each worker, joined by
// PACKET_FANOUT. It is all of a capture but the configuration: Capture counts,
// keeps the ledger, gives samples, and says how its interfaces are.
package afpacket

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Options of a Capture.
type Options struct {
	Interfaces  []string
	Workers     int // rings for each interface; 0 means 1
	Fanout      Fanout
	Spread      Program // with FanoutCBPF: what it returns is the worker, modulo their number
	SpreadFile  string  // with FanoutEBPF: a program that is pinned there (bpf(2), BPF_OBJ_PIN)
	Direction   Direction
	Promiscuous bool
	SnapLength  int           // octets of a frame that the kernel copies; 0 means DefaultSnapLength
	RingSize    int           // octets of each ring; 0 means DefaultRingSize
	Delay       time.Duration // how long a frame may wait for company; 0 means DefaultDelay
	Filter      Program       // which frames the kernel hands over; nil: all
	// Expression says which frames count, by the packet outside all tunnels; nil:
	// all. The kernel judges as much of it as it can, in place of Filter.
	Expression *pcapfilter.Program
	Sampling   uint32 // the kernel hands over one frame in so many, at random; 0 and 1: all
	Mirrored   uint32 // the switch mirrors one frame in so many; 0 and 1: all
	// SampleOverload skips frames at random while the ring is more than half
	// full, and scales those it takes: less is known then, and nothing is lost.
	SampleOverload bool
	CPUs           []int // processors that the workers are tied to, in turn; nil: those of the interface's NUMA node
	Parser         traffic.Parser
	Logger         hclog.Logger
}

// Defaults and bounds of Options.
const (
	DefaultSnapLength = 2048
	DefaultRingSize   = 64 << 20
	DefaultDelay      = 20 * time.Millisecond

	MinSnapLength = 64
	MaxSnapLength = 65535
	MinRingSize   = 1 << 20
	MaxRingSize   = 1 << 30
	MaxWorkers    = 64
	MaxSampling   = 1 << 24
	maxName       = 15 // IFNAMSIZ without its NUL

	// blockSize is how much of a ring changes hands at once. At the highest rates
	// it is full in a millisecond; and so small that it is still in the cache of
	// whoever wrote it.
	blockSize = 256 << 10
)

// Direction says which frames of an interface count.
type Direction uint8

// The directions. Both takes what comes in and what the machine itself sends:
// where there are several interfaces, what it sends on behalf of others was
// counted when it came in.
const (
	Receive Direction = iota
	Transmit
	Both
)

var directions = []string{"rx", "tx", "both"}

func (d Direction) String() string { return directions[d] }

// ParseDirection reads "rx", "tx" or "both".
func ParseDirection(s string) (Direction, error) {
	i := slices.Index(directions, s)
	if i < 0 {
		return 0, fmt.Errorf(`%q is none of "rx" (what comes in), "tx" (what goes out) and "both"`, s)
	}
	return Direction(i), nil
}

// Fanout is how frames are spread over the workers of an interface.
type Fanout uint8

// The modes of PACKET_FANOUT.
const (
	FanoutHash         Fanout = iota // by flow, both ways to the same worker
	FanoutLoadBalance                // in turn
	FanoutCPU                        // by the processor on which the frame arrived
	FanoutRollover                   // the next one when a ring is full
	FanoutRandom                     // at random
	FanoutQueueMapping               // by the card's receive queue
	FanoutCBPF                       // as a classic BPF program says
	FanoutEBPF                       // as an extended one says
)

var fanouts = []string{"hash", "lb", "cpu", "rollover", "random", "queue_mapping", "cbpf", "ebpf"}

func (f Fanout) String() string { return fanouts[f] }

// ParseFanout reads the name of a mode.
func ParseFanout(s string) (Fanout, error) {
	i := slices.Index(fanouts, s)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", s, strings.Join(fanouts, ", "))
	}
	return Fanout(i), nil
}

// SplitsFlows reports whether frames of one flow reach several workers, each of
// which then counts it as a flow of its own. With cpu and queue_mapping a card
// decides, which keeps flows together; of programs nobody knows.
func (f Fanout) SplitsFlows() bool {
	switch f {
	case FanoutLoadBalance, FanoutRollover, FanoutRandom, FanoutCBPF, FanoutEBPF:
		return true
	}
	return false
}

// CheckName says what is wrong with the name of an interface, whether there is
// such an interface or not.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of an interface is missing")
	case len(name) > maxName:
		return fmt.Errorf("%q has %d octets; names of interfaces have at most %d", name, len(name), maxName)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\x00"):
		return fmt.Errorf("%q cannot be the name of an interface: it has none of / : and spaces", name)
	}
	return nil
}

// normal fills in what is left out.
func (o *Options) normal() {
	o.Workers = min(max(o.Workers, 1), MaxWorkers)
	if o.SnapLength == 0 {
		o.SnapLength = DefaultSnapLength
	}
	if o.RingSize == 0 {
		o.RingSize = DefaultRingSize
	}
	if o.Delay == 0 {
		o.Delay = DefaultDelay
	}
	o.Sampling, o.Mirrored = max(o.Sampling, 1), max(o.Mirrored, 1)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
}

// The causes of loss beyond the parser's.
const (
	causeKernel = traffic.Outcomes - 1 + iota // the ring was full
	causeClosed                               // in a ring when it was closed
	causes
)

// Causes names the causes of loss (sdk.Causes).
func Causes() []string {
	names := make([]string, causes)
	for o := traffic.OK + 1; int(o) < traffic.Outcomes; o++ {
		names[o-1] = o.String()
	}
	names[causeKernel], names[causeClosed] = "kernel_drop", "ring_closed"
	return names
}

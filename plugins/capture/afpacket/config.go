package main

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/afpacket"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
)

const (
	lengthIP    = "ip"
	lengthFrame = "frame"

	overloadDrop   = "drop"
	overloadSample = "sample"

	minDelay = time.Millisecond
	maxDelay = time.Second
	maxCPU   = 1023 // CPU_SETSIZE

	maxInterfaces = 64
	maxRings      = 256 // of all interfaces
)

// config is the plugin's block.
type config struct {
	Interfaces     []string          `hcl:"interfaces" doc:"network interfaces, each captured by workers of its own"`
	Direction      string            `hcl:"direction,optional" doc:"rx (what comes in, unless set), tx (what goes out) or both"`
	Promiscuous    bool              `hcl:"promiscuous,optional" doc:"take frames for other machines, as a mirror port has them; true unless set"`
	Length         string            `hcl:"length,optional" doc:"octets that count: ip (the IP header's length, unless set) or frame"`
	Decapsulate    map[string]string `hcl:"decapsulate,optional" doc:"which packet of a tunnel counts, by kind: outer (unless set), inner or both"`
	Workers        int               `hcl:"workers,optional" doc:"rings, each with a thread of its own, for each interface; 1 unless set"`
	Fanout         string            `hcl:"fanout,optional" doc:"how frames are spread over workers: hash (unless set), cpu, queue_mapping, lb, rollover, random, cbpf or ebpf"`
	FanoutProgram  string            `hcl:"fanout_program,optional" doc:"cbpf: BPF program as tcpdump -ddd prints them, which returns the worker; ebpf: file of a pinned one"`
	CPUs           []int             `hcl:"cpus,optional" doc:"processors that the workers are tied to, in turn; those of the interface's NUMA node unless set"`
	RingSize       sdk.Size          `hcl:"ring_size,optional" doc:"octets of each worker's ring; 64MiB unless set"`
	SnapLength     int               `hcl:"snap_length,optional" doc:"octets of a frame that are copied; 2048 unless set"`
	Delay          time.Duration     `hcl:"delay,optional" doc:"how long a frame waits for company at most; 20ms unless set"`
	Filter         string            `hcl:"filter,optional" doc:"expression of tcpdump, or BPF program as tcpdump -ddd prints it, that chooses frames in the kernel"`
	Sampling       uint32            `hcl:"sampling,optional" doc:"take one frame in so many, at random, in the kernel"`
	MirrorSampling uint32            `hcl:"mirror_sampling,optional" doc:"the switch mirrors one frame in so many"`
	Overload       string            `hcl:"overload,optional" doc:"when frames come faster than they are counted: drop (unless set) or sample"`
}

func defaults() config {
	return config{
		Direction: afpacket.Receive.String(), Promiscuous: true, Length: lengthIP, Workers: 1, Fanout: afpacket.FanoutHash.String(),
		RingSize: afpacket.DefaultRingSize, SnapLength: afpacket.DefaultSnapLength, Delay: afpacket.DefaultDelay,
		Sampling: 1, MirrorSampling: 1, Overload: overloadDrop,
	}
}

// isProgram tells programs from expressions: they begin with their length.
var isProgram = regexp.MustCompile(`^\s*\d+\s*[,\n]`)

// options are those of the capture; complaints are about what cannot be read.
func (c *config) options() (o afpacket.Options, ds diag.Diagnostics) {
	root := diag.Path{}
	var err error
	fault := func(attr, summary string) {
		if err != nil {
			ds = append(ds, diag.Errorf(root.Attr(attr), summary, "%v.", err))
		}
	}
	o.Direction, err = afpacket.ParseDirection(c.Direction)
	fault("direction", "Unknown direction")
	o.Fanout, err = afpacket.ParseFanout(c.Fanout)
	fault("fanout", "Unknown way to spread frames")
	if err == nil {
		ds = append(ds, c.spread(&o)...)
	}
	switch {
	case isProgram.MatchString(c.Filter):
		if o.Filter, err = afpacket.ParseProgram(c.Filter); err != nil {
			ds = append(ds, diag.Errorf(root.Attr("filter"), "Not a BPF program",
				"%v. Programs are made of an expression with: tcpdump -y EN10MB -ddd 'udp port 53'. Or write the expression itself.", err))
		}
	case c.Filter != "":
		if o.Expression, err = pcapfilter.Compile(c.Filter); err != nil {
			ds = append(ds, pcapfilter.Complaint(err, root.Attr("filter")))
		}
	}
	o.Interfaces, o.Workers, o.CPUs = c.Interfaces, c.Workers, c.CPUs
	o.Promiscuous, o.SnapLength, o.RingSize, o.Delay = c.Promiscuous, c.SnapLength, int(c.RingSize), c.Delay
	o.Sampling, o.Mirrored, o.SampleOverload = c.Sampling, c.MirrorSampling, c.Overload == overloadSample
	o.Parser.LengthFromFrame = c.Length == lengthFrame
	if key, err := o.Parser.DecapsulateBy(c.Decapsulate); err != nil {
		ds = append(ds, diag.Errorf(root.Attr("decapsulate").Key(key), "Unknown decapsulation", "%v.", err))
	}
	return o, ds
}

// spread reads the program of the fanout modes that have one.
func (c *config) spread(o *afpacket.Options) (ds diag.Diagnostics) {
	at := diag.Path{}.Attr("fanout_program")
	switch o.Fanout {
	case afpacket.FanoutCBPF:
		var err error
		if o.Spread, err = afpacket.ParseProgram(c.FanoutProgram); err != nil {
			ds = append(ds, diag.Errorf(at, "Not a BPF program", "%v. With fanout = \"cbpf\" a program says which worker gets a frame.", err))
		}
	case afpacket.FanoutEBPF:
		if o.SpreadFile = c.FanoutProgram; !filepath.IsAbs(o.SpreadFile) {
			ds = append(ds, diag.Errorf(at, "Not a pinned program", "%q is no absolute path. With fanout = \"ebpf\" it is that of a program which is pinned, such as /sys/fs/bpf/spread.", o.SpreadFile))
		}
	default:
		if c.FanoutProgram != "" {
			ds = append(ds, diag.Errorf(at, "Program without effect", "With fanout = %q no program is asked. Write \"cbpf\" or \"ebpf\", or remove fanout_program.", c.Fanout))
		}
	}
	return ds
}

// Validate checks what the schema cannot.
func (c *capture) Validate(context.Context) error {
	cfg, root := &c.cfg, diag.Path{}
	_, ds := cfg.options()
	fault := func(attr, summary, format string, args ...any) {
		ds = append(ds, diag.Errorf(root.Attr(attr), summary, format, args...))
	}
	outside := func(attr, summary string, n, least, most uint64, format string, args ...any) {
		if n < least || n > most {
			fault(attr, summary, format, args...)
		}
	}
	ds = append(ds, checkInterfaces(cfg.Interfaces)...)
	if l := cfg.Length; l != lengthIP && l != lengthFrame {
		fault("length", "Unknown length", `%q is not a length. Write "ip" to count the IP header's length, "frame" to count the frame's on the wire.`, l)
	}
	if o := cfg.Overload; o != overloadDrop && o != overloadSample {
		fault("overload", "Unknown way out", `%q is none. Write "drop" to have the kernel drop frames and count them, "sample" to take fewer and scale them.`, o)
	}
	outside("workers", "Workers out of range", uint64(cfg.Workers), 1, afpacket.MaxWorkers,
		"%d is not from 1 to %d. One worker counts some millions of frames a second; more need as many processors.", cfg.Workers, afpacket.MaxWorkers)
	if n := len(cfg.Interfaces) * cfg.Workers; n > maxRings && len(cfg.Interfaces) <= maxInterfaces {
		fault("workers", "Too many rings", "%d interfaces with %d workers each are %d rings; at most %d are possible.", len(cfg.Interfaces), cfg.Workers, n, maxRings)
	}
	outside("ring_size", "Ring out of range", uint64(cfg.RingSize), afpacket.MinRingSize, afpacket.MaxRingSize, "%v is not from 1MiB to 1GiB. Leave it out for 64MiB.", cfg.RingSize)
	outside("snap_length", "Snap length out of range", uint64(cfg.SnapLength), afpacket.MinSnapLength, afpacket.MaxSnapLength,
		"%d is not from %d to %d. 128 octets are enough to count, 2048 for whole frames in evidence.", cfg.SnapLength, afpacket.MinSnapLength, afpacket.MaxSnapLength)
	outside("delay", "Delay out of range", uint64(cfg.Delay), uint64(minDelay), uint64(maxDelay), "%v is not from %v to %v. Leave it out for 20ms.", cfg.Delay, minDelay, maxDelay)
	outside("sampling", "Sampling rate out of range", uint64(cfg.Sampling), 1, afpacket.MaxSampling, "%d is not from 1 (every frame) to %d.", cfg.Sampling, afpacket.MaxSampling)
	outside("mirror_sampling", "Sampling rate out of range", uint64(cfg.MirrorSampling), 1, afpacket.MaxSampling/uint64(max(1, cfg.Sampling)),
		"%d is not from 1 (every frame) to %d, divided by sampling.", cfg.MirrorSampling, afpacket.MaxSampling)
	for i, cpu := range cfg.CPUs {
		if cpu < 0 || cpu > maxCPU {
			ds = append(ds, diag.Errorf(root.Attr("cpus").Index(i), "Processor out of range", "%d is not from 0 to %d.", cpu, maxCPU))
		}
	}
	return ds.Err()
}

// checkInterfaces complains of names that cannot be, and warns of interfaces
// that are not there: they may come.
func checkInterfaces(names []string) (ds diag.Diagnostics) {
	root := diag.Path{}.Attr("interfaces")
	if len(names) == 0 || len(names) > maxInterfaces {
		return append(ds, diag.Errorf(root, "Interfaces missing", "There are %d; name from 1 to %d.", len(names), maxInterfaces))
	}
	for i, name := range names {
		switch err := afpacket.CheckName(name); {
		case err != nil:
			ds = append(ds, diag.Errorf(root.Index(i), "Not an interface", "%v.", err))
		case slices.Contains(names[:i], name):
			ds = append(ds, diag.Errorf(root.Index(i), "Interface named twice", "%q would count twice.", name))
		case !afpacket.Supported:
			return append(ds, diag.Errorf(root, "No packet sockets", "%v.", afpacket.Missing(name)))
		default:
			if err := afpacket.Missing(name); err != nil {
				ds = append(ds, diag.Warningf(root.Index(i), "Interface missing", "On this machine %v. It is captured when it comes.", err))
			}
		}
	}
	return ds
}

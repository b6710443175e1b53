package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Offsets in a ring's header (package ring): of a delta ring, and of the first
// stage of a record ring.
const (
	headOffset   = 64
	tailOffset   = 128
	dataOffset   = 192
	roomOffset   = 256
	statsOffset  = 320
	cursorOffset = 256
	slotsOffset  = 4096
)

// plan is what is needed to write deltas that are believed.
type plan struct {
	revision       uint64
	network, group uint32
}

func (s *server) apply(request []byte) []byte {
	fields(request, func(_ protowire.Number, _ uint64, b []byte) {
		fields(b, func(field protowire.Number, value uint64, prefix []byte) {
			switch field {
			case 1:
				s.plan.revision = value
			case 2:
				fields(prefix, func(field protowire.Number, value uint64, _ []byte) {
					switch field {
					case 3:
						s.plan.network = uint32(value)
					case 4:
						s.plan.group = uint32(value)
					}
				})
			}
		})
	})
	return nil
}

func (s *server) attach(request []byte) []byte {
	var token uint64
	var generations []uint32
	fields(request, func(field protowire.Number, value uint64, b []byte) {
		switch field {
		case 1:
			generation := uint32(0)
			fields(b, func(field protowire.Number, value uint64, _ []byte) {
				if field == 3 {
					generation = uint32(value)
				}
			})
			generations = append(generations, generation)
		case 3:
			token = value
		}
	})
	if len(generations) == 0 {
		return nil
	}
	files, err := ring.ReceiveFiles(os.NewFile(3, "rings"), token, len(generations), time.Now().Add(time.Minute))
	if err != nil {
		panic(err)
	}
	for i, file := range files {
		f := &feed{file: file, generation: generations[i], memory: mapped(file)}
		if s.kind == "filter" {
			go f.judge(s.mode)
			continue
		}
		if f.writer, err = ring.OpenDelta(file); err != nil {
			panic(err)
		}
		s.rings = append(s.rings, f)
	}
	return nil
}

func mapped(file *os.File) []byte {
	info, err := file.Stat()
	if err != nil {
		panic(err)
	}
	b, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return b
}

// feed is one ring: written as it should be, until it is not.
type feed struct {
	file       *os.File
	memory     []byte
	writer     *ring.DeltaWriter
	generation uint32
	n          uint64 // flushes
}

func (f *feed) word(offset int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&f.memory[offset]))
}

// run flushes every 50 ms; the eighth flush is where most modes begin to lie.
func (f *feed) run(mode string, p plan) {
	switch mode {
	case "ring_silent":
		return
	case "ring_ghost":
		if f.generation == 1 {
			f.leaveGhost()
		}
	case "ring_rewrite":
		go scramble(f.memory[slotsOffset:])
	}
	for ; ; time.Sleep(time.Until(time.Now().Truncate(50 * time.Millisecond).Add(55 * time.Millisecond))) {
		f.n++
		flush, delta := f.honest(p)
		if f.n >= 8 {
			if f.lie(mode, &flush, &delta) {
				continue
			}
		}
		f.writer.Write([]ring.Delta{*flush.AsDelta(), delta})
		if mode == "ring_double" && f.n >= 8 {
			f.writer.Write([]ring.Delta{*flush.AsDelta(), delta})
		}
	}
}

// honest is the n-th flush: ten packets to a host of ours.
func (f *feed) honest(p plan) (ring.Flush, ring.Delta) {
	const packets = 10
	now := count.Monotonic()
	all := f.n * packets
	flush := ring.Flush{
		Kind: ring.KindFlush, Generation: f.generation, Number: f.n, Revision: p.revision, WindowEnd: now / 50e6 * 50e6,
		Received: all, Counted: all, Packets: all, Deltas: 1, Samples: packets,
	}
	return flush, ring.Delta{
		Kind: ring.KindHost, Family: 4, PrefixLen: 32, Network: p.network, Group: p.group, SpanMs: 50,
		Addr: netip.MustParseAddr("10.200.0.1").As16(), Packets: packets, Bytes: packets * 100, Sampling: 1, Samples: packets,
	}
}

// lie changes what is about to be written, or the ring itself: then nothing is
// to be written that would mend it.
func (f *feed) lie(mode string, flush *ring.Flush, delta *ring.Delta) (done bool) {
	switch mode {
	case "ring_magic": // and everything that the core wrote itself
		for i := range headOffset {
			f.memory[i] = 0xff
		}
	case "ring_tail":
		f.word(tailOffset).Store(rand.Uint64())
		f.word(dataOffset).Store(rand.Uint64())
		f.word(roomOffset).Store(rand.Uint64())
	case "ring_stats":
		for i := range 6 {
			f.word(statsOffset + 8*i).Store(math.MaxUint64)
		}
		if f.n == 12 {
			os.Exit(1)
		}
	case "ring_head_back":
		f.word(headOffset).Add(math.MaxUint64 - 2)
		return true
	case "ring_head_far":
		f.word(headOffset).Store(f.word(tailOffset).Load() + uint64(f.writer.Capacity()) + 3)
		return true
	case "ring_head_end":
		f.word(headOffset).Store(math.MaxUint64)
		return true
	case "ring_garbage":
		noise((*[ring.DeltaSize]byte)(unsafe.Pointer(flush))[:])
		flush.Kind = 200
	case "flush_generation":
		flush.Generation--
	case "flush_number":
		flush.Number = 3
	case "flush_ahead":
		flush.WindowEnd += int64(10 * time.Second)
	case "ring_stuck": // in the midst of things, as one that holds what flushing needs
		select {}
	case "flush_window":
		flush.WindowEnd++
	case "flush_past":
		flush.WindowEnd -= int64(10 * time.Second)
	case "flush_totals":
		flush.Received, flush.Counted = 1, 1
	case "flush_revision":
		flush.Revision += 1000
	case "flush_after_end":
		flush.Flags = ring.FlushFinished
	case "flush_deltas":
		flush.Deltas = math.MaxUint32
	case "flush_numbers": // of records that nobody has
		flush.Received, flush.Counted, flush.Packets, flush.Samples, flush.Held = math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64
	case "delta_outside":
		delta.Addr = netip.MustParseAddr("192.0.2.1").As16()
	case "delta_id":
		delta.Network, delta.Group = delta.Network+100, delta.Group+100
	case "delta_shape":
		delta.SpanMs, delta.Family, delta.PrefixLen, delta.Direction = 7, 9, 200, 77
	}
	return false
}

func noise(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rand.Uint64())
	}
}

// scramble writes over what was published, again and again: every slot, the
// kind of most records apart, so that some are read as they should.
func scramble(slots []byte) {
	for n := 0; ; n++ {
		slot := slots[n%64*ring.DeltaSize:][:ring.DeltaSize]
		at := 1 + rand.IntN(ring.DeltaSize-1)
		slot[at] = byte(rand.Uint32())
		if n%1000 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// leaveGhost leaves a process that goes on writing to the ring, in a session of
// its own and with an environment in which the core's mark is missing, then ends.
func (f *feed) leaveGhost() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, "haunt")
	cmd.ExtraFiles = []*os.File{f.file}
	cmd.Env = []string{"HOSTILE_MARK=" + os.Getenv("HOSTILE_MARK")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	time.Sleep(300 * time.Millisecond)
	os.Exit(1)
}

// haunt writes to a ring of which nobody knows any more, for a minute.
func haunt() {
	f := &feed{memory: mapped(os.NewFile(3, "ring"))}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.word(headOffset).Add(1)
		noise(f.memory[slotsOffset:][:64*ring.DeltaSize])
		for i := range 6 {
			f.word(statsOffset + 8*i).Store(math.MaxUint64)
		}
	}
}

// judge is the filter that has no verdict.
func (f *feed) judge(mode string) {
	for n := uint64(1); ; n++ {
		switch mode {
		case "cursor_far":
			f.word(cursorOffset).Store(math.MaxUint64 - n)
		case "cursor_back":
			f.word(cursorOffset).Store(1 << 20 / n)
		case "cursor_noise":
			noise(f.memory[:slotsOffset])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

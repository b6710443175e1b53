package pcapfilter

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Instruction is one of a classic BPF program (struct sock_filter of
// linux/filter.h).
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// MaxKernel is how many instructions Kernel gives at most: the kernel takes
// 4096 (BPF_MAXINSNS), and whoever attaches them has some to add.
const MaxKernel = 4000

// Kernel translates the program for the packet sockets of Linux: what returns
// 0 for a frame does not match. It returns 1 for all others and, since it can
// read less than a parser, for some that do not match either: behind MPLS,
// PPPoE, NSH, LLC, more than two tags in the frame or IPv6 extension headers,
// with headers that are cut off or wrong, and where the length of a packet
// decides (a super-frame of GRO or TSO has several). So Match is to have the
// last word. Of a tunnel it judges the packet that carries.
//
// nil means that the kernel cannot help: with another link type than Ethernet
// and IP, and with too long a program.
func (p *Program) Kernel(link traffic.LinkType) []Instruction {
	if p.start < 0 { // everything or nothing matches: that takes no program
		return nil
	}
	k := &kernel{p: p, blocks: make([]label, len(p.code)), yes: 0, no: 1, labels: make([]int, 2)}
	k.look()
	for i := range k.blocks {
		k.blocks[i] = k.label()
	}
	switch link {
	case traffic.LinkEthernet:
		k.ethernet()
	case traffic.LinkRaw:
		k.raw()
	default:
		return nil
	}
	k.jump(k.to(p.start))
	// A test leads only to tests before it in the program; in the kernel's,
	// jumps lead forward.
	for i := len(p.code) - 1; i >= 0; i-- {
		k.place(k.blocks[i])
		k.test(&p.code[i])
	}
	k.place(k.yes)
	k.emit(bpfReturn, 1)
	k.place(k.no)
	k.emit(bpfReturn, 0)
	if len(k.out) > MaxKernel {
		return nil
	}
	for _, f := range k.fixes {
		k.out[f.at].K = uint32(k.labels[f.to] - f.at - 1)
	}
	return k.out
}

// Codes of instructions. A is the accumulator, X the index, M the scratch
// memory, P the frame.
const (
	bpfLoad         = 0x00 // A = k
	bpfLoadWord     = 0x20 // A = P[k:4]
	bpfLoadHalf     = 0x28
	bpfLoadIndirect = 0x40 // A = P[X+k:4]
	bpfLoadHalfX    = 0x48
	bpfLoadByteX    = 0x50
	bpfLoadLength   = 0x80 // A = the frame's length
	bpfLoadMemory   = 0x60 // A = M[k]
	bpfIndex        = 0x01 // X = k
	bpfIndexMemory  = 0x61 // X = M[k]
	bpfStore        = 0x02 // M[k] = A
	bpfStoreX       = 0x03 // M[k] = X
	bpfAdd          = 0x04
	bpfSubtract     = 0x14
	bpfMultiply     = 0x24
	bpfDivide       = 0x34
	bpfOr           = 0x44
	bpfAnd          = 0x54
	bpfShiftLeft    = 0x64
	bpfShiftRight   = 0x74
	bpfModulo       = 0x94
	bpfXor          = 0xa4
	bpfByX          = 0x08 // to an operation: with X in place of k
	bpfJump         = 0x05
	bpfEqual        = 0x15
	bpfGreater      = 0x25
	bpfAtLeast      = 0x35
	bpfAnySet       = 0x45
	bpfReturn       = 0x06
	bpfToX          = 0x07 // X = A
	bpfToA          = 0x87 // A = X

	bpfVLANTag     = 0xfffff000 + 44 // SKF_AD_VLAN_TAG
	bpfVLANPresent = 0xfffff000 + 48 // SKF_AD_VLAN_TAG_PRESENT
)

// Scratch memory: what the head of a program finds out about a frame.
const (
	memIP = iota // where the IP header begins
	memTransport
	memFamily // 4 or 6
	memProto
	memMarks // MarkFragment and MarkLater
	memPorts // source and destination, 0 without
	memFlags // of TCP
	memICMP  // type and code
	memVLAN
	memRest // octets of the packet behind its IP header
	memTemp // from here on: what an arithmetic expression keeps
	memEnd  = 16
)

type label int

// next stands for the instruction that follows.
const next label = -1

// kernel is a translation.
type kernel struct {
	p       *Program
	out     []Instruction
	labels  []int // where each is
	fixes   []fix
	blocks  []label // of the program's tests
	yes, no label
	vlan    bool // the program asks for VLANs
}

// fix is a jump whose target is not placed yet.
type fix struct {
	at int
	to label
}

// look finds out what the program asks for.
func (k *kernel) look() {
	for i := range k.p.code {
		op := k.p.code[i].op
		k.vlan = k.vlan || op == opVLAN || op == opTagged
	}
}

func (k *kernel) label() label {
	k.labels = append(k.labels, 0)
	return label(len(k.labels) - 1)
}

func (k *kernel) place(l label) { k.labels[l] = len(k.out) }

func (k *kernel) to(at int32) label {
	switch at {
	case accept:
		return k.yes
	case reject:
		return k.no
	}
	return k.blocks[at]
}

func (k *kernel) emit(code uint16, value uint32) {
	k.out = append(k.out, Instruction{Code: code, K: value})
}

func (k *kernel) jump(to label) {
	k.fixes = append(k.fixes, fix{len(k.out), to})
	k.emit(bpfJump, 0)
}

// when compares A with a value. Conditional jumps reach 255 instructions only,
// so they lead to others that reach everywhere.
func (k *kernel) when(code uint16, value uint32, yes, no label) {
	in := Instruction{Code: code, K: value}
	if yes == next {
		in.JT = 1
	} else {
		in.JF = 1
	}
	k.out = append(k.out, in)
	if yes != next {
		k.jump(yes)
	}
	if no != next {
		k.jump(no)
	}
}

// test translates one test of the program.
func (k *kernel) test(in *instruction) {
	yes, no := k.to(in.yes), k.to(in.no)
	memory := func(at, code uint16, value uint32) {
		k.emit(bpfLoadMemory, uint32(at))
		k.when(code, value, yes, no)
	}
	switch in.op {
	case opIPv4:
		memory(memFamily, bpfEqual, 4)
	case opIPv6:
		memory(memFamily, bpfEqual, 6)
	case opProto:
		memory(memProto, bpfEqual, in.a)
	case opSource:
		k.network(&k.p.nets[in.a], fieldSource, yes, no)
	case opDestination:
		k.network(&k.p.nets[in.a], fieldDestination, yes, no)
	case opAddress:
		other := k.label()
		k.network(&k.p.nets[in.a], fieldSource, yes, other)
		k.place(other)
		k.network(&k.p.nets[in.a], fieldDestination, yes, no)
	case opSourcePort, opDestinationPort, opPort:
		k.port(in, yes, no)
	case opMarks:
		memory(memMarks, bpfAnySet, in.a)
	case opVLAN:
		memory(memVLAN, bpfEqual, in.a)
	case opTagged:
		k.emit(bpfLoadMemory, memVLAN)
		k.when(bpfEqual, 0, no, yes)
	case opFlags:
		k.emit(bpfLoadMemory, memFlags)
		k.emit(bpfAnd, in.a)
		k.when(bpfEqual, in.b, yes, no)
	case opField:
		if in.field.field == fieldLength {
			k.jump(k.yes)
			return
		}
		k.field(in.field)
		k.emit(bpfAnd, in.a)
		k.compare(in.compare, in.b, 0, yes, no)
	case opCompare:
		pair := k.p.pairs[in.a]
		if lengths(pair[0]) || lengths(pair[1]) || !k.eval(pair[1], memTemp) {
			k.jump(k.yes)
			return
		}
		k.emit(bpfStore, memTemp)
		if !k.eval(pair[0], memTemp+1) {
			k.jump(k.yes)
			return
		}
		k.emit(bpfIndexMemory, memTemp)
		k.compare(in.compare, 0, bpfByX, yes, no)
	}
}

// lengths reports whether a value depends on a packet's length.
func lengths(v value) bool {
	switch v := v.(type) {
	case load:
		return v.field == fieldLength
	case binaryOf:
		return lengths(v.l) || lengths(v.r)
	}
	return false
}

// compare compares A with a number or, with by set, with X.
func (k *kernel) compare(c comparison, value uint32, by uint16, yes, no label) {
	switch c {
	case comparisons["<"]:
		k.when(bpfAtLeast|by, value, no, yes)
	case comparisons["="]:
		k.when(bpfEqual|by, value, yes, no)
	case comparisons["<="]:
		k.when(bpfGreater|by, value, no, yes)
	case comparisons[">"]:
		k.when(bpfGreater|by, value, yes, no)
	case comparisons["!="]:
		k.when(bpfEqual|by, value, no, yes)
	default:
		k.when(bpfAtLeast|by, value, yes, no)
	}
}

var operations = map[string]uint16{
	"+": bpfAdd, "-": bpfSubtract, "*": bpfMultiply, "/": bpfDivide, "%": bpfModulo,
	"&": bpfAnd, "|": bpfOr, "^": bpfXor, "<<": bpfShiftLeft, ">>": bpfShiftRight,
}

// eval leaves a value in A, and may use the scratch memory from temp on; false
// means that there is too little of it.
func (k *kernel) eval(v value, temp uint32) bool {
	switch v := v.(type) {
	case constant:
		k.emit(bpfLoad, uint32(v))
	case load:
		k.field(v)
	case binaryOf:
		if c, fixed := v.r.(constant); fixed {
			if !k.eval(v.l, temp) {
				return false
			}
			k.emit(operations[v.op], uint32(c))
			return true
		}
		if temp >= memEnd || !k.eval(v.r, temp) {
			return false
		}
		k.emit(bpfStore, temp)
		if !k.eval(v.l, temp+1) {
			return false
		}
		k.emit(bpfIndexMemory, temp)
		k.emit(operations[v.op]|bpfByX, 0)
	}
	return true
}

// field loads a field, whose header is known to be there.
func (k *kernel) field(l load) {
	load := map[uint8]uint16{1: bpfLoadByteX, 2: bpfLoadHalfX, 4: bpfLoadIndirect}[l.size]
	inHeader := func(code uint16, offset uint32) {
		k.emit(bpfIndexMemory, memIP)
		k.emit(code, offset)
	}
	part := func(at uint32, octets uint8) { // of what M has
		k.emit(bpfLoadMemory, at)
		if shift := 8 * uint32(octets-l.offset-l.size); shift > 0 {
			k.emit(bpfShiftRight, shift)
		}
		if l.size < 4 {
			k.emit(bpfAnd, 1<<(8*l.size)-1)
		}
	}
	v4 := l.proto.String() == "ip"
	switch l.field {
	case fieldTTL:
		inHeader(bpfLoadByteX, map[bool]uint32{true: 8, false: 7}[v4])
	case fieldToS:
		inHeader(bpfLoadByteX, 1)
	case fieldProtocol:
		k.emit(bpfLoadMemory, memProto)
	case fieldSource, fieldDestination:
		inHeader(load, address(l.field, v4)+uint32(l.offset)-map[bool]uint32{true: 12}[v4])
	case fieldFlags:
		k.emit(bpfLoadMemory, memFlags)
	case fieldPorts:
		part(memPorts, 4)
	case fieldICMP:
		part(memICMP, 2)
	}
}

// address is where an address lies in an IP header.
func address(f field, v4 bool) uint32 {
	switch {
	case v4 && f == fieldSource:
		return 12
	case v4:
		return 16
	case f == fieldSource:
		return 8
	}
	return 24
}

// network tests an address. Networks have addresses as records do, with IPv4
// mapped; and so may an IPv6 packet.
func (k *kernel) network(n *network, f field, yes, no label) {
	words := [4]uint32{uint32(n.hi >> 32), uint32(n.hi), uint32(n.lo >> 32), uint32(n.lo)}
	masks := [4]uint32{uint32(n.maskHi >> 32), uint32(n.maskHi), uint32(n.maskLo >> 32), uint32(n.maskLo)}
	six := k.label()
	k.emit(bpfIndexMemory, memIP)
	k.emit(bpfLoadMemory, memFamily)
	k.when(bpfEqual, 6, six, next)
	if mapped := [3]uint32{0, 0, 0xffff}; mapped[0]&masks[0] == words[0] && mapped[1]&masks[1] == words[1] && mapped[2]&masks[2] == words[2] {
		k.emit(bpfLoadIndirect, address(f, true))
		k.emit(bpfAnd, masks[3])
		k.when(bpfEqual, words[3], yes, no)
	} else {
		k.jump(no)
	}
	k.place(six)
	for i, mask := range masks {
		if mask != 0 {
			k.emit(bpfLoadIndirect, address(f, false)+4*uint32(i))
			k.emit(bpfAnd, mask)
			k.when(bpfEqual, words[i], next, no)
		}
	}
	k.jump(yes)
}

// port tests ports, of protocols that have them and no later fragments.
func (k *kernel) port(in *instruction, yes, no label) {
	has := k.label()
	k.emit(bpfLoadMemory, memProto)
	for number, of := range ported {
		if of&in.over != 0 {
			k.when(bpfEqual, uint32(number), has, next)
		}
	}
	k.jump(no)
	k.place(has)
	k.emit(bpfLoadMemory, memMarks)
	k.when(bpfAnySet, uint32(traffic.MarkLater), no, next)
	within := func(code uint16, value uint32, no label) {
		k.emit(bpfLoadMemory, memPorts)
		k.emit(code, value)
		k.emit(bpfSubtract, in.a)
		k.when(bpfGreater, in.b, no, yes)
	}
	switch in.op {
	case opSourcePort:
		within(bpfShiftRight, 16, no)
	case opDestinationPort:
		within(bpfAnd, 0xffff, no)
	default:
		other := k.label()
		within(bpfShiftRight, 16, other)
		k.place(other)
		within(bpfAnd, 0xffff, no)
	}
}

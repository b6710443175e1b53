package afpacket

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Instruction is one instruction of a classic BPF program (bpf(4)).
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// Program is a classic BPF program: what it returns for a frame is how many
// octets of it are kept, 0 none.
type Program []Instruction

// MaxProgram is how many instructions the kernel takes.
const MaxProgram = 4096

// Parts of codes.
const (
	classMask  = 0x07
	classJump  = 0x05
	classRet   = 0x06
	jumpAlways = 0x05
	retK       = 0x06
	loadAbs    = 0x20 // BPF_LD | BPF_W | BPF_ABS
	modK       = 0x94 // BPF_ALU | BPF_MOD | BPF_K
	jumpEqual  = 0x15 // BPF_JMP | BPF_JEQ | BPF_K

	// What the kernel knows of a frame besides its octets (linux/filter.h).
	adPacketType = 0xfffff000 + 4
	adRandom     = 0xfffff000 + 56
	outgoing     = 4 // PACKET_OUTGOING
)

// ParseProgram reads what "tcpdump -ddd" prints: the number of instructions,
// then code, jt, jf and k of each, as decimal numbers, separated by line ends
// or, as iptables and tc have it, commas.
func ParseProgram(text string) (Program, error) {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' })
	var p Program
	want := -1
	for i, line := range lines {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if want < 0 && len(fields) == 1 {
			n, err := strconv.Atoi(fields[0])
			if err != nil || n < 1 || n > MaxProgram {
				return nil, fmt.Errorf("a program begins with the number of its instructions, 1 to %d, not with %q", MaxProgram, fields[0])
			}
			want = n
			continue
		}
		in, err := parseInstruction(fields)
		if err != nil {
			return nil, fmt.Errorf("part %d, %q: %w", i+1, strings.TrimSpace(line), err)
		}
		p = append(p, in)
	}
	if want < 0 || want != len(p) {
		return nil, fmt.Errorf("a program begins with the number of its instructions; there are %d: give it as \"tcpdump -ddd\" prints it", len(p))
	}
	return p, p.Check()
}

func parseInstruction(fields []string) (in Instruction, err error) {
	if len(fields) != 4 {
		return in, fmt.Errorf("an instruction is four numbers: code, jt, jf and k")
	}
	var v [4]uint64
	for i, bits := range []int{16, 8, 8, 32} {
		if v[i], err = strconv.ParseUint(fields[i], 0, bits); err != nil {
			return in, fmt.Errorf("%q is no number of %d bits", fields[i], bits)
		}
	}
	return Instruction{uint16(v[0]), uint8(v[1]), uint8(v[2]), uint32(v[3])}, nil
}

// Check says what is wrong with a program's shape. Its codes are for the kernel
// to judge.
func (p Program) Check() error {
	if len(p) == 0 || len(p) > MaxProgram-16 { // some are put before it
		return fmt.Errorf("a program of %d instructions; it must have 1 to %d", len(p), MaxProgram-16)
	}
	for i, in := range p {
		left := uint64(len(p) - 1 - i)
		far := max(uint64(in.JT), uint64(in.JF))
		if in.Code == jumpAlways {
			far = uint64(in.K)
		}
		if in.Code&classMask == classJump && far+1 > left {
			return fmt.Errorf("instruction %d jumps beyond the program's end", i)
		}
	}
	if p[len(p)-1].Code&classMask != classRet {
		return fmt.Errorf("the last instruction does not return")
	}
	return nil
}

// dropAll is the program of a socket that is not ready.
var dropAll = Program{{Code: retK}}

// program is what a socket's frames pass in the kernel: direction, sampling,
// then the configured filter, and at last the snap length.
func (o *Options) program(link traffic.LinkType) Program {
	var p Program
	drop := Instruction{Code: retK}
	if o.Direction == Transmit {
		p = append(p, Instruction{Code: loadAbs, K: adPacketType}, Instruction{Code: jumpEqual, JT: 1, K: outgoing}, drop)
	}
	if o.Sampling > 1 {
		p = append(p, Instruction{Code: loadAbs, K: adRandom}, Instruction{Code: modK, K: o.Sampling}, Instruction{Code: jumpEqual, JT: 1}, drop)
	}
	keep := Instruction{Code: retK, K: uint32(o.SnapLength)}
	filter := o.filter(link)
	if filter == nil {
		return append(p, keep)
	}
	for _, in := range filter {
		if in.Code == retK && in.K > 0 {
			in = keep
		}
		p = append(p, in)
	}
	return p
}

// filter is the configured filter, as far as the kernel can judge by it.
func (o *Options) filter(link traffic.LinkType) Program {
	if o.Expression == nil {
		return o.Filter
	}
	var p Program
	for _, in := range o.Expression.Kernel(link) {
		p = append(p, Instruction(in))
	}
	return p
}

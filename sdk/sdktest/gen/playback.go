package gen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Recording is frames captured elsewhere, all in one direction, that may be
// played again.
type Recording struct {
	frames [][]byte
	at     int // offset of our address in each
}

const (
	etherHeader  = 14
	ipv4Check    = etherHeader + 10 // offsets in a frame
	ipv4Source   = etherHeader + 12
	ipv4Target   = etherHeader + 16
	frameRoom    = 1 << 16
	tcpCheck     = 16 // offsets in a transport header
	udpCheck     = 6
	fragmentBits = 0x1fff
)

// NewRecording keeps those of Ethernet frames that are untagged, IPv4, and go
// to (incoming) or come from (outgoing) an address of local. It is an error if
// there are none.
func NewRecording(frames [][]byte, local netip.Prefix, d Direction) (*Recording, error) {
	r := &Recording{at: ipv4Target}
	if d == Outgoing {
		r.at = ipv4Source
	}
	var parser traffic.Parser
	for _, f := range frames {
		var record traffic.Record
		if len(f) < etherHeader || len(f) > frameRoom || binary.BigEndian.Uint16(f[12:]) != etherIPv4 || parser.Ethernet(&record, f, len(f)) != traffic.OK {
			continue
		}
		if ours, _ := netip.AddrFromSlice(f[r.at : r.at+4]); local.Contains(ours) {
			r.frames = append(r.frames, f)
		}
	}
	if len(r.frames) == 0 {
		return nil, fmt.Errorf("recording: none of %d frames is untagged IPv4 with an address of %v on our side", len(frames), local)
	}
	return r, nil
}

// Len is the number of frames.
func (r *Recording) Len() int { return len(r.frames) }

// Playback plays a recording at a rate of its own, with our addresses in it.
type Playback struct {
	Recording *Recording
	Skip      int // frames at the recording's beginning; after its last frame it goes on with its first
	// To is put into the frames in place of the recorded address of our side:
	// an address, or a prefix behind which recorded bits stay.
	To       netip.Prefix
	Start    time.Duration // after the scenario's start
	Duration time.Duration // 0: to the end
	PPS      float64       // frames a second on average
	Bursts   Bursts
}

// player gives a playback's frames.
type player struct {
	*Recording
	position int
	to       [4]byte
	mask     [4]byte // bits of to that count
	parser   traffic.Parser
	buf      []byte
}

func (b *Playback) stream(s *Scenario, number uint64, begin time.Time, ours *prefix.Table) (*stream, error) {
	length := b.Duration
	if length == 0 {
		length = s.Duration - b.Start
	}
	if b.Recording == nil || b.Skip < 0 {
		return nil, errors.New("a recording is needed, and Skip must not be negative")
	}
	if !b.To.IsValid() || !b.To.Addr().Is4() {
		return nil, errors.New("an IPv4 address or prefix is needed")
	}
	if _, in := ours.Match(b.To.Addr()); in == 0 {
		return nil, fmt.Errorf("it is in none of the networks %v", s.Networks)
	}
	if err := s.checkSpan("", b.Start, length, b.PPS); err != nil {
		return nil, err
	}
	p := &player{Recording: b.Recording, position: b.Skip % b.Recording.Len(), to: b.To.Addr().As4(), buf: make([]byte, 0, frameRoom)}
	binary.BigEndian.PutUint32(p.mask[:], uint32(uint64(0xffffffff)<<(32-b.To.Bits())))
	part := playParts + 2*number
	st, err := newPacedStream(nil, s.rng(part), begin.Add(b.Start).UnixNano(), length, b.PPS, b.Bursts, s.rng(part+1).Uint64())
	if err != nil {
		return nil, err
	}
	st.frames = p
	return st, nil
}

func (p *player) next(out *Packet) {
	recorded := p.frames[p.position]
	if p.position++; p.position == len(p.frames) {
		p.position = 0
	}
	p.buf = append(p.buf[:0], recorded...)
	f := p.buf
	for i := range p.to {
		f[p.at+i] = f[p.at+i]&^p.mask[i] | p.to[i]&p.mask[i]
	}
	adjust(f, recorded, p.at)
	for len(f) < minFrame {
		f = append(f, 0)
	}
	out.Frame, out.Record = f, traffic.Record{}
	p.parser.Ethernet(&out.Record, f, len(f)) // NewRecording took only what parses
}

// adjust makes checksums right after the address at an offset changed
// (RFC 1624).
func adjust(f, before []byte, at int) {
	fix := func(check int) {
		if check+2 > len(f) {
			return
		}
		sum := uint64(^binary.BigEndian.Uint16(f[check:]))
		for i := at; i < at+4; i += 2 {
			sum += uint64(^binary.BigEndian.Uint16(before[i:])) + uint64(binary.BigEndian.Uint16(f[i:]))
		}
		binary.BigEndian.PutUint16(f[check:], fold(sum))
	}
	fix(ipv4Check)
	if binary.BigEndian.Uint16(f[etherHeader+6:])&fragmentBits != 0 {
		return
	}
	transport := etherHeader + int(f[etherHeader]&15)*4
	switch f[etherHeader+9] {
	case traffic.ProtoTCP:
		fix(transport + tcpCheck)
	case traffic.ProtoUDP:
		if at := transport + udpCheck; at+2 <= len(f) && binary.BigEndian.Uint16(f[at:]) != 0 {
			fix(at)
		}
	}
}

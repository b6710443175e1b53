package capfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	// bufferSize bounds what one open file holds in memory, and with it the
	// bytes of a frame that are kept.
	bufferSize = 128 << 10
	// maxFrame is the largest frame a classic file may hold; libpcap's own
	// limit (MAXIMUM_SNAPLEN). More than that is a damaged header.
	maxFrame = 256 << 10
	// Latest is the largest time that is believed, in 2116. Together with
	// zero it keeps every sum of a time and a duration inside an int64.
	Latest = int64(1) << 62
)

// Packet is one captured frame.
type Packet struct {
	Time int64            // nanoseconds since the Unix epoch, never below an earlier packet's of the file
	Link traffic.LinkType // LinkUnknown where the file does not say
	Wire int              // length on the wire, octets
	Data []byte           // what was captured, at most bufferSize octets; valid until the next read
}

// LinkUnknown marks a packet of an interface that its file does not describe.
const LinkUnknown = traffic.LinkType(0xffff)

// Damage is where and why a capture file cannot be read any further. The
// packets before it are good.
type Damage struct {
	file   string
	offset int64 // octets into the file, uncompressed
	what   string
	Cut    bool // the file just ends, as after a crash or a full disk
	cause  error
}

func (d *Damage) Error() string {
	s := fmt.Sprintf("%s: at byte %d: %s", d.file, d.offset, d.what)
	if d.cause != nil {
		s += ": " + d.cause.Error()
	}
	return s
}

func (d *Damage) Unwrap() error { return d.cause }

// Reader reads one capture file, pcap or pcapng, gzip or not, in either byte
// order. Its memory does not depend on the file.
type Reader struct {
	name   string
	in     *bufio.Reader
	closer io.Closer
	offset int64 // of what in reads next
	swap   bool  // big-endian
	ng     bool
	nano   bool             // classic: nanoseconds instead of microseconds
	link   traffic.LinkType // classic
	ifaces []iface
	last   int64 // largest time so far
	unread int   // octets of the packet given last, consumed by the next call so that its Data stays
}

// ReadFile reads the packets of the capture file at path, at most most of them,
// into memory. With *Damage come the packets before it.
func ReadFile(path string, most int) (packets []Packet, err error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for len(packets) < most {
		var p Packet
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return packets, err
		}
		p.Data = bytes.Clone(p.Data)
		packets = append(packets, p)
	}
	return packets, nil
}

// Open opens the capture file at path.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closer = f
	return r, nil
}

// NewReader reads the header of a capture file and tells by its first bytes
// what it is.
func NewReader(name string, src io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(src, bufferSize)
	magic, err := in.Peek(4)
	if err != nil && len(magic) < 4 {
		return nil, shortHeader(name, err)
	}
	if isGzip(magic) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%s: not readable as gzip: %w", name, err)
		}
		in = bufio.NewReaderSize(z, bufferSize)
		if magic, err = in.Peek(4); err != nil {
			return nil, shortHeader(name, err)
		}
	}
	r := &Reader{name: name, in: in}
	if err := r.begin(magic); err != nil {
		return nil, err
	}
	return r, nil
}

func shortHeader(name string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: too short for a capture file", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func isGzip(magic []byte) bool { return magic[0] == 0x1f && magic[1] == 0x8b }

// Magic numbers as they stand in a little-endian file.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetsov's libpcap: longer record headers
	magicNG       = 0x0a0d0d0a // section header block, the same in both byte orders
)

// begin reads the file's header.
func (r *Reader) begin(magic []byte) error {
	switch m := binary.LittleEndian.Uint32(magic); m {
	case magicMicro, magicNano:
		r.nano = m == magicNano
	case bits.ReverseBytes32(magicMicro), bits.ReverseBytes32(magicNano):
		r.swap, r.nano = true, m == bits.ReverseBytes32(magicNano)
	case magicNG:
		r.ng = true
		return r.firstSection()
	case magicModified, bits.ReverseBytes32(magicModified):
		return fmt.Errorf("%s: the modified pcap format (magic 0xa1b2cd34) is not supported; convert it: editcap -F pcap %s out.pcap", r.name, r.name)
	default:
		return fmt.Errorf("%s: %s", r.name, describeMagic(magic))
	}
	return r.classicHeader()
}

// describeMagic says what a file that is no capture file may be.
func describeMagic(magic []byte) string {
	for _, known := range []struct {
		magic []byte
		name  string
	}{
		{[]byte{0x28, 0xb5, 0x2f, 0xfd}, "zstd"},
		{[]byte{0xfd, '7', 'z', 'X'}, "xz"},
		{[]byte{0x04, 0x22, 0x4d, 0x18}, "lz4"},
		{[]byte{'B', 'Z', 'h'}, "bzip2"},
		{[]byte{0x1f, 0x8b}, "gzip twice"},
	} {
		if bytes.HasPrefix(magic, known.magic) {
			return "compressed with " + known.name + "; only gzip, once, is read: decompress it first"
		}
	}
	return fmt.Sprintf("neither pcap nor pcapng (it begins with % x)", magic)
}

// Next reads the next packet into p. It returns io.EOF at the proper end of
// the file and *Damage where the file is cut or damaged.
func (r *Reader) Next(p *Packet) error {
	if r.ng {
		return r.nextBlock(p)
	}
	return r.nextRecord(p)
}

// stamp clamps a packet's time to what is believable and to the largest time
// seen in the file: a step backwards must not upset the merging of files.
func (r *Reader) stamp(p *Packet, ns int64) {
	r.last = max(r.last, min(ns, Latest))
	p.Time = r.last
}

// Close closes the file. The reader is not used afterwards.
func (r *Reader) Close() {
	if r.closer != nil {
		r.closer.Close()
	}
}

func (r *Reader) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if r.swap {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (r *Reader) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if r.swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (r *Reader) i64(b []byte) int64 {
	v := binary.LittleEndian.Uint64(b)
	if r.swap {
		v = bits.ReverseBytes64(v)
	}
	return int64(v)
}

// peek returns the next n octets, n at most bufferSize, without consuming
// them. At the very end of the file it returns io.EOF.
func (r *Reader) peek(n int, what string) ([]byte, error) {
	b, err := r.in.Peek(n)
	if err == nil {
		return b, nil
	}
	if errors.Is(err, io.EOF) && len(b) == 0 {
		return nil, io.EOF
	}
	return nil, r.broken(err, what)
}

// skip consumes n octets.
func (r *Reader) skip(n int, what string) error {
	done, err := r.in.Discard(n)
	if err != nil {
		return r.broken(err, what)
	}
	r.offset += int64(done)
	return nil
}

// broken turns a failed read inside what into damage.
func (r *Reader) broken(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Damage{file: r.name, offset: r.offset, what: "the file is cut inside " + what, Cut: true}
	}
	return &Damage{file: r.name, offset: r.offset, what: "cannot read " + what, cause: err}
}

// damaged reports contents that cannot be.
func (r *Reader) damaged(format string, args ...any) error {
	return &Damage{file: r.name, offset: r.offset, what: fmt.Sprintf(format, args...)}
}

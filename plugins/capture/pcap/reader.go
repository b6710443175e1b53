package main

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
	// latest is the largest time that is believed, in 2116. Together with
	// zero it keeps every sum of a time and a duration inside an int64.
	latest = int64(1) << 62
)

// packet is one captured frame.
type packet struct {
	Time int64            // nanoseconds since the Unix epoch, never below an earlier packet's of the file
	Link traffic.LinkType // linkUnknown where the file does not say
	Wire int              // length on the wire, octets
	Data []byte           // what was captured, at most bufferSize octets; valid until the next read
}

// linkUnknown marks a packet of an interface that its file does not describe.
const linkUnknown = traffic.LinkType(0xffff)

// damage is where and why a capture file cannot be read any further. The
// packets before it are good.
type damage struct {
	file   string
	offset int64 // octets into the file, uncompressed
	what   string
	cut    bool // the file just ends, as after a crash or a full disk
	cause  error
}

func (d *damage) Error() string {
	s := fmt.Sprintf("%s: at byte %d: %s", d.file, d.offset, d.what)
	if d.cause != nil {
		s += ": " + d.cause.Error()
	}
	return s
}

func (d *damage) Unwrap() error { return d.cause }

// reader reads one capture file, pcap or pcapng, gzip or not, in either byte
// order. Its memory does not depend on the file.
type reader struct {
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

// openFile opens the capture file at path.
func openFile(path string) (*reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closer = f
	return r, nil
}

// newReader reads the header of a capture file and tells by its first bytes
// what it is.
func newReader(name string, src io.Reader) (*reader, error) {
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
	r := &reader{name: name, in: in}
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
func (r *reader) begin(magic []byte) error {
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

// next reads the next packet into p. It returns io.EOF at the proper end of
// the file and *damage where the file is cut or damaged.
func (r *reader) next(p *packet) error {
	if r.ng {
		return r.nextBlock(p)
	}
	return r.nextRecord(p)
}

// stamp clamps a packet's time to what is believable and to the largest time
// seen in the file: a step backwards must not upset the merging of files.
func (r *reader) stamp(p *packet, ns int64) {
	r.last = max(r.last, min(ns, latest))
	p.Time = r.last
}

// close closes the file. The reader is not used afterwards.
func (r *reader) close() {
	if r.closer != nil {
		r.closer.Close()
	}
}

func (r *reader) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if r.swap {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (r *reader) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if r.swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (r *reader) i64(b []byte) int64 {
	v := binary.LittleEndian.Uint64(b)
	if r.swap {
		v = bits.ReverseBytes64(v)
	}
	return int64(v)
}

// peek returns the next n octets, n at most bufferSize, without consuming
// them. At the very end of the file it returns io.EOF.
func (r *reader) peek(n int, what string) ([]byte, error) {
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
func (r *reader) skip(n int, what string) error {
	done, err := r.in.Discard(n)
	if err != nil {
		return r.broken(err, what)
	}
	r.offset += int64(done)
	return nil
}

// broken turns a failed read inside what into damage.
func (r *reader) broken(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &damage{file: r.name, offset: r.offset, what: "the file is cut inside " + what, cut: true}
	}
	return &damage{file: r.name, offset: r.offset, what: "cannot read " + what, cause: err}
}

// damaged reports contents that cannot be.
func (r *reader) damaged(format string, args ...any) error {
	return &damage{file: r.name, offset: r.offset, what: fmt.Sprintf(format, args...)}
}

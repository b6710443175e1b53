package capfile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// want is a packet that a test writes and expects to read.
type want struct {
	Time int64
	Link traffic.LinkType
	Wire int
	Data string
}

// builder writes capture files of every kind, also wrong ones.
type builder struct {
	bytes.Buffer
	order binary.ByteOrder
}

func (b *builder) put(values ...any) *builder {
	for _, v := range values {
		if err := binary.Write(b, b.order, v); err != nil {
			panic(err)
		}
	}
	return b
}

// classic writes a file header.
func classic(order binary.ByteOrder, nano bool, link traffic.LinkType) *builder {
	magic := uint32(magicMicro)
	if nano {
		magic = magicNano
	}
	b := &builder{order: order}
	return b.put(magic, uint16(2), uint16(4), int32(0), uint32(0), uint32(65535), uint32(link))
}

// record writes a record; unit is how many nanoseconds the fraction counts.
func (b *builder) record(w want, unit int64) *builder {
	return b.put(uint32(w.Time/1e9), uint32(w.Time%1e9/unit), uint32(len(w.Data)), uint32(w.Wire), []byte(w.Data))
}

// block writes a pcapng block around body, padded.
func (b *builder) block(typ uint32, body *builder) *builder {
	for body.Len()%4 != 0 {
		body.WriteByte(0)
	}
	n := uint32(body.Len() + 12)
	return b.put(typ, n, body.Bytes(), n)
}

func (b *builder) body() *builder { return &builder{order: b.order} }

// ng writes a section header.
func (b *builder) section() *builder {
	return b.block(magicNG, b.body().put(uint32(byteOrderMagic), uint16(1), uint16(0), int64(-1)))
}

func ng(order binary.ByteOrder) *builder { return (&builder{order: order}).section() }

// option is an option of a block.
type option struct {
	code  uint16
	value any
}

func (b *builder) iface(link traffic.LinkType, snap uint32, options ...option) *builder {
	body := b.body().put(uint16(link), uint16(0), snap)
	for _, o := range options {
		value := b.body().put(o.value)
		body.put(o.code, uint16(value.Len()), value.Bytes())
		for body.Len()%4 != 0 {
			body.WriteByte(0)
		}
	}
	if len(options) > 0 {
		body.put(uint32(0))
	}
	return b.block(blockInterface, body)
}

// enhanced writes a packet with a time stamp in the interface's units.
func (b *builder) enhanced(iface uint32, ts uint64, w want) *builder {
	return b.block(blockEnhanced, b.body().put(iface, uint32(ts>>32), uint32(ts), uint32(len(w.Data)), uint32(w.Wire), []byte(w.Data)))
}

func (b *builder) simple(w want) *builder {
	return b.block(blockSimple, b.body().put(uint32(w.Wire), []byte(w.Data)))
}

// obsolete writes the packet block that the enhanced one replaced.
func (b *builder) obsolete(iface uint16, ts uint64, w want) *builder {
	return b.block(blockPacket, b.body().put(iface, uint16(7), uint32(ts>>32), uint32(ts), uint32(len(w.Data)), uint32(w.Wire), []byte(w.Data)))
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads a whole capture; err is what came instead of io.EOF.
func readAll(data []byte) (got []want, err error) {
	r, err := NewReader("test", bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return drain(r)
}

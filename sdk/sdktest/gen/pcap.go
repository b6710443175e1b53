package gen

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// WritePcap writes the scenario as a classic capture file, little-endian with
// nanoseconds, and returns the number of packets written.
func WritePcap(w io.Writer, s *Scenario) (n int, err error) { return WritePcapCut(w, s, 262144) }

// WritePcapCut is WritePcap with at most so many octets of each frame. Its
// length on the wire is noted, as capture programs do.
func WritePcapCut(w io.Writer, s *Scenario, snapLen int) (n int, err error) {
	out := bufio.NewWriterSize(w, 1<<20)
	if _, err = out.Write(pcapHeader(traffic.LinkEthernet, snapLen)); err != nil {
		return 0, fmt.Errorf("write capture file: %w", err)
	}
	invalid := s.Packets(func(p *Packet) bool {
		cut := p.Frame[:min(len(p.Frame), snapLen)]
		if _, err = out.Write(recordHeader(p.Time, len(cut), len(p.Frame))); err == nil {
			_, err = out.Write(cut)
		}
		if err == nil {
			n++
		}
		return err == nil
	})
	if invalid != nil {
		return 0, invalid
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return n, fmt.Errorf("write capture file after %d packets: %w", n, err)
	}
	return n, nil
}

// pcapHeader begins a classic capture file, little-endian with nanoseconds.
func pcapHeader(link traffic.LinkType, snapLen int) []byte {
	le := binary.LittleEndian
	header := le.AppendUint32(nil, 0xa1b23c4d) // magic of nanosecond files
	header = le.AppendUint16(header, 2)
	header = le.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...) // time zone and accuracy, unused
	header = le.AppendUint32(header, uint32(snapLen))
	return le.AppendUint32(header, uint32(link))
}

// recordHeader begins a record of size octets of a frame that had wire.
func recordHeader(at int64, size, wire int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(make([]byte, 0, 16), uint32(at/1e9))
	b = le.AppendUint32(b, uint32(at%1e9))
	b = le.AppendUint32(b, uint32(size))
	return le.AppendUint32(b, uint32(wire))
}

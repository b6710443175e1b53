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
	le := binary.LittleEndian
	out := bufio.NewWriterSize(w, 1<<20)
	header := le.AppendUint32(nil, 0xa1b23c4d) // magic of nanosecond files
	header = le.AppendUint16(header, 2)
	header = le.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...) // time zone and accuracy, unused
	header = le.AppendUint32(header, uint32(snapLen))
	header = le.AppendUint32(header, uint32(traffic.LinkEthernet))
	if _, err = out.Write(header); err != nil {
		return 0, fmt.Errorf("write capture file: %w", err)
	}
	var record [16]byte
	invalid := s.Packets(func(p *Packet) bool {
		le.PutUint32(record[0:], uint32(p.Time/1e9))
		le.PutUint32(record[4:], uint32(p.Time%1e9))
		cut := p.Frame[:min(len(p.Frame), snapLen)]
		le.PutUint32(record[8:], uint32(len(cut)))
		le.PutUint32(record[12:], uint32(len(p.Frame)))
		if _, err = out.Write(record[:]); err == nil {
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

package gen

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Port is where exporters usually send to (IANA: sflow, ipfix; NetFlow has
// none of its own).
func (p Protocol) Port() uint16 {
	switch p {
	case SFlow:
		return 6343
	case IPFIX:
		return 4739
	}
	return 2055
}

// WritePcap writes what an exporter sends of a scenario as a classic capture
// file of raw IPv4, in the scenario's own time: from 192.0.2.1 to 192.0.2.10
// and the protocol's usual port. It returns what was told.
func (t *Telemetry) WritePcap(w io.Writer, s *Scenario) (Told, error) {
	out := bufio.NewWriterSize(w, 1<<20)
	_, err := out.Write(pcapHeader(traffic.LinkRaw, 1<<16))
	var stamp Stamper
	told, invalid := t.Datagrams(s, func(d *Datagram) bool {
		stamp.Stamp(d, d.Time)
		if err == nil {
			_, err = out.Write(rawDatagram(d, t.Protocol.Port()))
		}
		return err == nil
	})
	if invalid != nil {
		return told, invalid
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return told, fmt.Errorf("write capture file after %d datagrams: %w", told.Datagrams, err)
	}
	return told, nil
}

// rawDatagram is a record of a capture file with a datagram in IPv4 and UDP,
// without checksums.
func rawDatagram(d *Datagram, port uint16) []byte {
	be, size := binary.BigEndian, 28+len(d.Data)
	b := recordHeader(d.Time, size, size)
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(size))
	b = append(b, 0, 0, 0, 0, 64, traffic.ProtoUDP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 10)
	b = be.AppendUint16(b, 50000)
	b = be.AppendUint16(b, port)
	b = be.AppendUint16(b, uint16(8+len(d.Data)))
	b = append(b, 0, 0)
	return append(b, d.Data...)
}

package evidence

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// CaptureFile makes a capture file of the samples that have octets: pcap with
// microseconds, as every program reads it, or, where they differ in link type,
// pcapng. It returns nothing where there are none.
func CaptureFile(samples []sdk.Sample) (file []byte, extension string, err error) {
	var links []int
	frames := 0
	for i := range samples {
		if s := &samples[i]; len(s.Data) > 0 {
			frames++
			if !slices.Contains(links, s.Link) {
				links = append(links, s.Link)
			}
		}
	}
	if frames == 0 {
		return nil, "", nil
	}
	ordered := slices.Clone(samples)
	slices.SortStableFunc(ordered, func(a, b sdk.Sample) int { return a.Time.Compare(b.Time) })
	var b bytes.Buffer
	if len(links) == 1 {
		err = writePcap(&b, ordered, links[0])
		return b.Bytes(), ".pcap", err
	}
	err = writePcapNG(&b, ordered, links)
	return b.Bytes(), ".pcapng", err
}

func writePcap(b *bytes.Buffer, samples []sdk.Sample, link int) error {
	w := pcapgo.NewWriter(b)
	if err := w.WriteFileHeader(sdk.MaxFrame, layers.LinkTypeNull); err != nil {
		return err
	}
	// The library's link types have eight bits, which is less than there are.
	binary.LittleEndian.PutUint32(b.Bytes()[20:], uint32(link))
	for i := range samples {
		if s := &samples[i]; len(s.Data) > 0 {
			if err := w.WritePacket(captureInfo(s, 0), s.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

func writePcapNG(b *bytes.Buffer, samples []sdk.Sample, links []int) error {
	face := pcapgo.NgInterface{LinkType: layers.LinkTypeNull, SnapLength: sdk.MaxFrame, TimestampResolution: 9}
	w, err := pcapgo.NewNgWriterInterface(b, face, pcapgo.NgWriterOptions{})
	if err != nil {
		return err
	}
	at := 0
	for i, link := range links {
		if i > 0 {
			if _, err := w.AddInterface(face); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if i == 0 {
			at = int(binary.LittleEndian.Uint32(b.Bytes()[4:])) // behind the section's header
		}
		// As in writePcap; it stands behind the block's type and length.
		binary.LittleEndian.PutUint16(b.Bytes()[at+8:], uint16(link))
		at = b.Len()
	}
	for i := range samples {
		if s := &samples[i]; len(s.Data) > 0 {
			if err := w.WritePacket(captureInfo(s, slices.Index(links, s.Link)), s.Data); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// captureInfo is the packet's header. Nothing is longer in the file than it was
// on the wire.
func captureInfo(s *sdk.Sample, face int) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: s.Time, CaptureLength: len(s.Data), Length: max(s.WireLen, len(s.Data)), InterfaceIndex: face}
}

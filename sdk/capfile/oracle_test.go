package capfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// seeded makes n packets with rising times.
func seeded(seed uint64, n int, unit int64) []want {
	rng := rand.New(rand.NewPCG(seed, seed))
	now := noon
	out := make([]want, n)
	for i := range out {
		now += rng.Int64N(1e9) / unit * unit
		data := make([]byte, rng.IntN(1600))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		out[i] = want{now, traffic.LinkEthernet, len(data) + rng.IntN(100), string(data)}
	}
	return out
}

// Files that gopacket writes read the same.
func TestGopacketWrites(t *testing.T) {
	for _, nano := range []bool{false, true} {
		var b bytes.Buffer
		w, unit := pcapgo.NewWriter(&b), int64(1000)
		if nano {
			w, unit = pcapgo.NewWriterNanos(&b), 1
		}
		expect := seeded(1, 500, unit)
		if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
			t.Fatal(err)
		}
		for _, p := range expect {
			if err := w.WritePacket(info(p), []byte(p.Data)); err != nil {
				t.Fatal(err)
			}
		}
		check(t, b.Bytes(), expect)
	}
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	expect := seeded(2, 500, 1)
	for _, p := range expect {
		if err := w.WritePacket(info(p), []byte(p.Data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	check(t, b.Bytes(), expect)
}

func info(p want) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: time.Unix(0, p.Time), CaptureLength: len(p.Data), Length: p.Wire}
}

// Files of every byte order and resolution read as gopacket reads them.
func TestGopacketReads(t *testing.T) {
	for name, order := range orders {
		c := classic(order, name == "big", traffic.LinkEthernet)
		n := ng(order).iface(traffic.LinkEthernet, 0, option{optionTSResol, uint8(9)})
		unit := int64(1000)
		if name == "big" {
			unit = 1
		}
		for _, p := range seeded(3, 300, unit) {
			c.record(p, unit)
			n.enhanced(0, uint64(p.Time), p)
		}
		check(t, c.Bytes(), oracle(t, c.Bytes()))
		check(t, n.Bytes(), oracle(t, n.Bytes()))
	}
}

// oracle reads a capture of one link type with gopacket, times clamped as
// ours are.
func oracle(t testing.TB, data []byte) (out []want) {
	t.Helper()
	var (
		src interface {
			gopacket.PacketDataSource
			LinkType() layers.LinkType
		}
		err error
	)
	if binary.LittleEndian.Uint32(data) == magicNG {
		src, err = pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.DefaultNgReaderOptions)
	} else {
		src, err = pcapgo.NewReader(bytes.NewReader(data))
	}
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	for {
		b, ci, err := src.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		last = max(last, ci.Timestamp.UnixNano())
		out = append(out, want{last, traffic.LinkType(src.LinkType()), ci.Length, string(b)})
	}
}

// fixtures returns the captures of real attacks.
func fixtures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sdktest.Fixtures(t, "attacks"), "*.pcap*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures among the fixtures: %v", err)
	}
	return files
}

// Real captures read as gopacket reads them, and after editcap has turned
// pcap into pcapng and back.
func TestFixturesAgainstGopacket(t *testing.T) {
	for _, file := range fixtures(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			expect := oracle(t, data)
			compare(t, file, expect)
			dir := t.TempDir()
			for _, format := range []string{"pcap", "pcapng", "nsecpcap"} {
				out := filepath.Join(dir, "out."+format)
				sdktest.Tool(t, "editcap", "-F", format, file, out)
				compare(t, out, expect)
			}
		})
	}
}

func compare(t *testing.T, file string, expect []want) {
	t.Helper()
	r, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := drain(r)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(expect, got) {
		t.Fatalf("%s: (-want +got)\n%.2000s", filepath.Base(file), cmp.Diff(expect, got))
	}
}

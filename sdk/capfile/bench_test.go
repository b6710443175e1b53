package capfile

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// BenchmarkRead reads and parses captures of a seeded mix that lie in memory;
// an operation is a packet.
func BenchmarkRead(b *testing.B) {
	mix := gen.Scenario{Seed: 1, Duration: 5 * time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64")}, Benign: gen.Benign{PPS: 20000, IPv6: 0.2, VLAN: 0.1}}
	var file bytes.Buffer
	if _, err := gen.WritePcap(&file, &mix); err != nil {
		b.Fatal(err)
	}
	other := ng(le).iface(traffic.LinkEthernet, 0)
	var octets uint64
	packets := 0
	if err := mix.Packets(func(p *gen.Packet) bool {
		other.enhanced(0, uint64(p.Time/1000), want{Wire: len(p.Frame), Data: string(p.Frame)})
		packets++
		octets += p.Record.Bytes
		return true
	}); err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"pcap": file.Bytes(), "pcapng": other.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var (
				p      Packet
				rec    traffic.Record
				parser traffic.Parser
				sum    uint64
				r      = again(b, data)
			)
			for i, n := 0, 0; i < b.N; i++ {
				if err := r.Next(&p); errors.Is(err, io.EOF) {
					if n != packets || sum != octets {
						b.Fatalf("%d packets, %d octets, want %d and %d", n, sum, packets, octets)
					}
					n, sum = 0, 0
					r = again(b, data)
					continue
				} else if err != nil {
					b.Fatal(err)
				}
				if parser.Frame(&rec, p.Link, p.Data, p.Wire) == traffic.OK {
					sum += rec.Bytes
				}
				n++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// again begins from the start; opening is not what is measured.
func again(b *testing.B, data []byte) *Reader {
	b.StopTimer()
	defer b.StartTimer()
	r, err := NewReader("bench", bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

package main

import (
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

// benchDatagrams are datagrams of seven samples with 128-octet headers, as
// devices send them, and the octets that their packets have in all.
func benchDatagrams(n int, form func(flowSample) []byte, records ...[]byte) (datagrams [][]byte, octets uint64) {
	const samples = 7
	f4, f6 := someFrames(n*samples, false), someFrames(n*samples, true)
	for i := range n {
		g := datagram{agent: agent4, sequence: uint32(i)}
		for j := range samples {
			f := f4[i*samples+j]
			if j == 6 {
				f = f6[i*samples+j]
			}
			r := parsed(f)
			octets += r.Bytes
			s := flowSample{sequence: uint32(i), index: uint32(j), rate: 1000, in: uint32(j), out: 13}
			s.records = append([][]byte{header(1, uint32(len(f)+4), sampledHeader(f, 128))}, records...)
			g.samples = append(g.samples, form(s))
		}
		datagrams = append(datagrams, g.bytes())
	}
	return datagrams, octets
}

// BenchmarkDecode reads seeded datagrams; an operation is a sample.
func BenchmarkDecode(b *testing.B) {
	vlan := tlv(recordSwitch, numbers(100, 0, 200, 0))
	for _, c := range []struct {
		name    string
		form    func(flowSample) []byte
		records [][]byte
	}{
		{"header", flowSample.compact, nil},
		{"expanded", flowSample.expanded, nil},
		{"switch", flowSample.compact, [][]byte{vlan}},
		{"gateway", flowSample.compact, [][]byte{
			vlan, tlv(recordRouter, addressOf(hop4), numbers(24, 24)),
			tlv(recordGateway, gatewayData(addressOf(hop6), asPath([]uint32{64502, 64503, 64504}))),
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			datagrams, want := benchDatagrams(64, c.form, c.records...)
			b.ReportAllocs()
			var (
				d       decoder
				records [batchRecords]traffic.Record
				s       sample
				octets  uint64
				n       int
			)
			b.ResetTimer()
			for i := 0; i < b.N; {
				for _, data := range datagrams {
					if !d.open(data) {
						b.Fatal("not opened")
					}
					for d.next(&records[n], &s) == counted {
						octets += records[n].Bytes
						n = (n + 1) % batchRecords
						i++
					}
				}
				if octets != want {
					b.Fatalf("%d octets, want %d", octets, want)
				}
				octets = 0
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}

// renumber gives a datagram of benchDatagrams, and its samples, a number.
func renumber(data []byte, n uint32) {
	be.PutUint32(data[16:], n)
	for off := 28; off < len(data); off += 8 + int(be.Uint32(data[off+4:])) {
		be.PutUint32(data[off+8:], n)
	}
}

// counter is a writer that adds up what it is given.
type counter struct {
	buf             [batchRecords]traffic.Record
	packets, octets uint64
	lost            uint64
}

func (w *counter) Reserve(n int) []traffic.Record { return w.buf[:n] }

func (w *counter) Commit(n int, _ func(int) []byte) {
	for i := range n {
		w.packets += w.buf[i].Packets
		w.octets += w.buf[i].Bytes
	}
}

func (w *counter) Dropped(_ int, n uint64) { w.lost += n }

// BenchmarkWorker does with batches of datagrams all that a worker does; an
// operation is a sample.
func BenchmarkWorker(b *testing.B) {
	datagrams, want := benchDatagrams(64, flowSample.compact)
	x := newBench(b, defaults())
	var w counter
	x.w = &w
	batch := make([]udp.Datagram, len(datagrams))
	for i, d := range datagrams {
		batch[i] = udp.Datagram{Data: d, From: sender4}
	}
	x.batch(batch, time.Now().UnixNano(), 0)
	samples := int(w.packets / 1000)
	b.ReportAllocs()
	b.ResetTimer()
	for i, round := 0, uint32(1); i < b.N; i, round = i+samples, round+1 {
		w = counter{}
		for j, d := range datagrams {
			renumber(d, round*uint32(len(datagrams))+uint32(j))
		}
		x.batch(batch, time.Now().UnixNano(), 0)
		if w.octets != want*1000 || w.lost != 0 {
			b.Fatalf("%d octets, want %d; lost %d", w.octets, want*1000, w.lost)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}

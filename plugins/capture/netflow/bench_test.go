package main

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// load is seeded datagrams and what they add up to.
type load struct {
	announce        [][]byte
	datagrams       [][]byte
	records         int
	packets, octets uint64
}

const benchDatagrams = 64

func makeLoad(per int, message func(rng *rand.Rand, i int, flows []v5Flow) []byte, v6 bool) (l load) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range benchDatagrams {
		var flows []v5Flow
		for range per {
			f := random(rng, v6)
			flows = append(flows, f)
			l.records++
			l.packets += uint64(f.packets)
			l.octets += uint64(f.octets)
		}
		l.datagrams = append(l.datagrams, message(rng, i, flows))
	}
	return l
}

// flowLoad is a load of data records of one template.
func flowLoad(per int, ipfix, v6 bool, fields []spec) load {
	l := makeLoad(per, func(_ *rand.Rand, i int, flows []v5Flow) []byte {
		var records [][]byte
		for _, f := range flows {
			records = append(records, f.record(fields))
		}
		sequence := uint32(i)
		if ipfix {
			sequence = uint32(i * per)
		}
		return message(ipfix, sequence, 7, set(256, records...))
	}, v6)
	l.announce = [][]byte{message(ipfix, 0, 7, templateSet(ipfix, 256, fields))}
	return l
}

func v5Load() load {
	return makeLoad(30, func(_ *rand.Rand, i int, flows []v5Flow) []byte {
		var records [][]byte
		for _, f := range flows {
			records = append(records, f.v5())
		}
		return v5Message(30, uint32(i*30), 0, records...)
	}, false)
}

// general is the standard layout with elements of variable length among it,
// as firewalls and probes send it.
func general() []spec {
	f := standard(false, true)
	f = append(f[:8:8], append([]spec{{id: 96, length: variableLength}}, f[8:]...)...)
	return append(f, spec{id: 110, length: variableLength, pen: 3054}, spec{id: 236, length: variableLength})
}

// benchLoads are the kinds of datagram that benchmarks decode.
func benchLoads() []benchLoad {
	return []benchLoad{
		{"v5", v5Load()},
		{"v9/fixed", flowLoad(20, false, false, standard(false, false)[:19])},
		{"v9/sampler", flowLoad(20, false, false, standard(false, false))},
		{"ipfix/fixed", flowLoad(18, true, false, standard(false, true)[:19])},
		{"ipfix/fixed6", flowLoad(12, true, true, standard(true, true)[:19])},
		{"ipfix/general", flowLoad(16, true, false, general())},
	}
}

type benchLoad struct {
	name string
	load load
}

// BenchmarkDecode decodes seeded datagrams that lie in memory into reserved
// records. An operation is one flow record, with its share of what a datagram
// costs: the exporter's statistics, sequence and sampling.
func BenchmarkDecode(b *testing.B) {
	for _, c := range benchLoads() {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, &c.load, func(d *decoder, data []byte, now int64) { d.datagram(data, device, now, 1e18) })
		})
	}
}

// BenchmarkRecords decodes only the records of the same datagrams.
func BenchmarkRecords(b *testing.B) {
	for _, c := range benchLoads() {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, &c.load, func(d *decoder, data []byte, _ int64) {
				switch data[1] { // the version
				case 5:
					d.v5Records(data[v5Header:])
				case 9:
					d.data(data, v9Header+setHeader, len(data), d.src.dom.table.Load().find(256))
				case 10:
					d.data(data, ipfixHeader+setHeader, len(data), d.src.dom.table.Load().find(256))
				}
			})
		})
	}
}

func benchmark(b *testing.B, l *load, decode func(d *decoder, data []byte, now int64)) {
	set, err := exporter.NewSet(exporter.Options{Sampling: 1, Now: exporter.NewClock().Mono, Wall: exporter.NewClock().Wall})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]traffic.Record, 512)
	records, packets, octets := 0, uint64(0), uint64(0)
	verify := false
	o := &output{}
	o.hand = func(n int) []traffic.Record {
		if verify {
			for i := range n {
				packets += o.records[i].Packets
				octets += o.records[i].Bytes
			}
			records += n
		}
		return buf
	}
	o.next()
	d := newDecoder(o, newStore(), set.View(), newHold(new(atomic.Int64)))
	now := int64(1e9)
	give := func(data []byte) {
		now += 1000
		d.datagram(data, device, now, 1e18)
	}
	for _, a := range l.announce {
		give(a)
	}
	verify = true
	for _, g := range l.datagrams {
		give(g)
	}
	o.next()
	if records != l.records || packets != l.packets || octets != l.octets {
		b.Fatalf("%d records, %d packets, %d octets, want %d, %d and %d; lost %v", records, packets, octets, l.records, l.packets, l.octets, d.lost)
	}
	verify = false
	for i, g := range l.datagrams { // with room behind them, as they are received
		l.datagrams[i] = append(make([]byte, 0, len(g)+slack), g...)
	}
	per := l.records / benchDatagrams
	b.ReportAllocs()
	b.ResetTimer()
	for i, n := 0, 0; n < b.N; i, n = i+1, n+per {
		now += 1000
		decode(d, l.datagrams[i%benchDatagrams], now)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

// BenchmarkAnnounce announces one changed template after the other, in a domain
// that has as many as fit: what whoever forges an exporter's address can have
// done. An operation is one announcement, with its datagram. In "known" it is one
// that others have as well; in "new" nobody has announced it before.
func BenchmarkAnnounce(b *testing.B) {
	for _, c := range []struct {
		name  string
		kinds int
	}{{"known", 2}, {"new", 1 << 16}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, 512, nil)
			var datagrams [][]byte
			layout := standard(false, true)
			for id := range maxDomainTemplates {
				r.give(device, message(true, 0, 7, templateSet(true, uint16(256+id), layout)))
			}
			for k := range 2048 {
				layout := append(layout[:len(layout):len(layout)], spec{id: uint16(k % c.kinds), length: 4, pen: 99})
				if k < c.kinds && c.kinds == 2 {
					r.give(another, message(true, 0, 7, templateSet(true, uint16(256+k), layout)))
				}
				datagrams = append(datagrams, message(true, 0, 7, templateSet(true, uint16(256+k/2%maxDomainTemplates), layout)))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.give(device, datagrams[i%len(datagrams)])
			}
			if n := r.losses(); len(n) > 0 {
				b.Fatal(n)
			}
		})
	}
}

package main

import (
	"flag"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var update = flag.Bool("update", false, "rewrite the fuzz corpus that tests commit")

// FuzzDatagram gives the decoder anything. Whatever it is, reading ends,
// every record is one packet, and losses are fewer than octets.
func FuzzDatagram(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		both(t, data)
		var d decoder
		if !d.open(data) {
			if len(losses(&d.lost)) != 1 {
				t.Fatalf("not opened, but lost %v", losses(&d.lost))
			}
			return
		}
		var r traffic.Record
		var s sample
		samples := 0
		for {
			got := d.next(&r, &s)
			if got == ended {
				break
			}
			if samples++; samples > len(data)/8 {
				t.Fatalf("%d samples in %d octets", samples, len(data))
			}
			if got != counted {
				continue
			}
			if r.Packets != 1 || r.Sampling != 1 || r.Bytes > maxFrame || r.Marks&traffic.MarkFlow != 0 || !s.flow {
				t.Fatalf("%+v %+v", r, s)
			}
			if h := s.header; h.from < 0 || h.to < h.from || h.to > len(data) {
				t.Fatalf("sampled header at %+v of %d octets", h, len(data))
			}
			s = sample{}
		}
		d.close()
		if d.off > len(data) || d.left != 0 {
			t.Fatalf("ended at %d of %d, %d samples left", d.off, len(data), d.left)
		}
		for cause, n := range d.lost {
			if n > uint64(len(data)/8+2) {
				t.Fatalf("cause %d: %d in %d octets", cause, n, len(data))
			}
		}
	})
}

// corpus is where fuzzing starts: a datagram of every kind, and the shapes
// that have broken other decoders.
func corpus() map[string][]byte {
	f := someFrames(1, false)[0][:64]
	s := flowSample{rate: 1, index: 1}
	raw := func(values ...uint32) []byte {
		c := s
		c.records = [][]byte{tlv(recordHeader, numbers(values...), f)}
		return wrap(c.compact())
	}
	tags := append([]byte(nil), f[:12]...)
	for range 28 {
		tags = append(tags, 0x81, 0, 0, 1)
	}
	v := s
	v.records = [][]byte{header(1, 1500, tags)}
	out := map[string][]byte{
		"header-larger-than-record": raw(1, 64, 0, 65),
		"header-negative":           raw(1, 64, 0, 0x80000000),
		"header-record-short":       wrap(tlv(sampleFlow, numbers(1, 1, 1, 1, 1, 1, 1, 1), tlv(recordHeader, numbers(1)))),
		"samples-huge":              datagram{agent: agent4, count: 0xffffffff}.bytes(),
		"records-huge":              wrap(tlv(sampleFlow, numbers(1, 1, 1, 1, 1, 1, 1, 0xffffffff))),
		"sample-length-huge":        append(wrap(), numbers(sampleFlow, 0xffffffff, 0)...),
		"version-only":              numbers(5),
		"path-huge":                 wrap(tlv(sampleFlow, numbers(1, 1, 1, 1, 1, 1, 1, 1), tlv(recordGateway, numbers(1, 1, 1, 1, 1, 0xffffffff, 2, 0x40000001)))),
		"vlan-many":                 wrap(v.compact()),
		"tail":                      append(wrap(), 1, 2, 3),
		"ends-searched":             datagram{agent: agent4, count: 3, samples: [][]byte{numbers(sampleFlow, 12, 1, 0xffffffff, 3)}}.bytes(),
	}
	for name, data := range specimens() {
		out["specimen-"+name] = data
	}
	return out
}

// The committed corpus is what this file makes.
func TestCorpus(t *testing.T) { sdktest.Corpus(t, "FuzzDatagram", corpus(), *update, nil) }

package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

var update = flag.Bool("update", false, "rewrite the fuzz corpus that tests commit")

// stream joins datagrams into one input: each behind its length in two octets.
func stream(datagrams ...[]byte) []byte {
	b := &builder{}
	for _, d := range datagrams {
		b.put(uint16(len(d)), d)
	}
	return b.b
}

// unstream cuts an input into datagrams.
func unstream(data []byte) (out [][]byte) {
	for len(data) >= 2 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		out = append(out, data[2:2+n])
		data = data[2+n:]
	}
	return out
}

// word is a big-endian number of two octets.
func word(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// hostile is inputs that have broken other collectors, or could.
func hostile(ipfix bool) map[string][]byte {
	rng := rand.New(rand.NewPCG(3, 3))
	m := func(sets ...[]byte) []byte { return message(ipfix, 1, 1, sets...) }
	fields := ids(8, 4, 12, 4, 1, 4, 2, 4)
	f := random(rng, false)
	data, announce := f.record(fields), templateSet(ipfix, 256, fields)
	tset, oset := uint16(0), uint16(1)
	if ipfix {
		tset, oset = 2, 3
	}
	odd := standard(false, ipfix)
	in := map[string][]byte{
		"good":                stream(m(announce), m(set(256, data, data, data))),
		"standard":            stream(m(templateSet(ipfix, 300, odd)), m(set(300, f.record(odd), f.record(odd)))),
		"header-only":         stream(m()),
		"version-word-only":   stream(m()[:2]),
		"header-cut":          stream(m()[:15]),
		"before-template":     stream(m(set(256, data)), m(announce), m(set(256, data))),
		"set-length-0":        stream(m(announce, word(256), word(0), data)),
		"set-length-1":        stream(m(announce, word(256), word(1), data)),
		"set-length-3":        stream(m(announce, word(256), word(3), data)),
		"set-past-end":        stream(m(announce, word(256), word(60000), data)),
		"tail-of-3":           stream(m(announce, set(256, data), []byte{1, 2, 3})),
		"record-cut":          stream(m(announce, word(256), word(uint16(4+len(data)+7)), data, data[:7])),
		"template-0-fields":   stream(m(set(tset, word(256), word(0))), m(set(256, data))),
		"template-0-octets":   stream(m(set(tset, word(256), word(2), word(8), word(0), word(12), word(0))), m(set(256, data))),
		"template-65535":      stream(m(set(tset, word(256), word(65535), word(8), word(4)))),
		"template-long":       stream(m(templateSet(ipfix, 256, ids(8, 40000, 12, 40000)))),
		"template-id-255":     stream(m(templateSet(ipfix, 255, fields))),
		"template-twice":      stream(m(announce, templateSet(ipfix, 256, ids(1, 8, 2, 8, 8, 4, 12, 4)), set(256, data, data))),
		"template-cut":        stream(m(announce[:10])),
		"counters-of-3":       stream(m(templateSet(ipfix, 256, ids(8, 4, 12, 4, 1, 3, 2, 5)), set(256, data, data))),
		"lengths-wrong":       stream(m(templateSet(ipfix, 256, ids(8, 3, 12, 5, 1, 9, 2, 0, 7, 4, 4, 2)), set(256, data, data))),
		"overflow":            stream(m(optionsSet(ipfix, 257, 1, ids(1, 4, 34, 4)), set(257, []byte{0, 0, 0, 0, 0, 255, 255, 255}), templateSet(ipfix, 256, ids(8, 4, 12, 4, 1, 8, 2, 8)), set(256, data[:8], bytes.Repeat([]byte{255}, 16)))),
		"options-scope-odd":   stream(m(set(oset, word(257), word(3), word(5), word(34), word(4), word(34), word(4)))),
		"options-scope-large": stream(m(set(oset, word(257), word(65532), word(65532), word(34), word(4)))),
		"options-name":        stream(m(optionsSet(ipfix, 257, 1, ids(10, 4, 83, 32)), set(257, []byte{0, 0, 0, 9}, bytes.Repeat([]byte{'x'}, 32)))),
		"options-cut":         stream(m(optionsSet(ipfix, 257, 1, ids(10, 4, 83, 32)), set(257, []byte{0, 0, 0, 9}))),
		"frame":               stream(m(templateSet(ipfix, 256, ids(312, 2, 104, 20)), set(256, word(60), bytes.Repeat([]byte{0x45}, 20)))),
		"frame-offset":        stream(m(templateSet(ipfix, 256, ids(103, 4, 102, 2, 104, 20)), set(256, bytes.Repeat([]byte{0xff}, 26)))),
		"unknown-set":         stream(m(set(77, data))),
		"asa":                 stream(m(templateSet(ipfix, 256, ids(8, 4, 12, 4, 231, 4, 232, 4, 233, 1, 152, 8, 323, 8)), set(256, bytes.Repeat([]byte{9}, 66)))),
	}
	if ipfix {
		variable := []spec{{id: 8, length: 4}, {id: 12, length: 4}, {id: 82, length: variableLength}, {id: 1, length: 4}, {id: 315, length: variableLength}}
		in["variable-past-end"] = stream(m(templateSet(true, 256, variable), set(256, data[:8], []byte{200, 1, 2, 3})))
		in["variable-long"] = stream(m(templateSet(true, 256, variable), set(256, data[:8], []byte{255, 255, 255, 3})))
		in["variable-cut"] = stream(m(templateSet(true, 256, variable), set(256, data[:8], []byte{1, 2, 0, 0, 0, 0, 255, 0})))
		in["frame-empty"] = stream(m(templateSet(true, 256, []spec{{id: 315, length: variableLength}}), set(256, []byte{0, 0, 0, 0, 0})))
		in["enterprise"] = stream(m(templateSet(true, 256, append([]spec{{id: 1, length: 4, pen: penReverse}}, fields...)), set(256, []byte{0, 0, 0, 1}, data)))
		in["enterprise-cut"] = stream(m(set(2, word(256), word(1), word(0x8001), word(4))))
		in["withdrawal"] = stream(m(announce), m(set(2, word(256), word(0))), m(set(256, data)), m(set(2, word(2), word(0))), m(set(3, word(3), word(0))))
		in["length-0"] = stream((&builder{}).put(uint16(10), uint16(0), uint32(0), uint32(0), uint32(0)).b)
		in["length-past-end"] = stream((&builder{}).put(uint16(10), uint16(900), uint32(0), uint32(0), uint32(0), announce).b)
		in["two-messages"] = stream(append(m(announce), m(set(256, data))...))
	}
	return in
}

func hostileV5() map[string][]byte {
	r := random(rand.New(rand.NewPCG(4, 4)), false).v5()
	return map[string][]byte{
		"good":              stream(v5Message(2, 0, 0, r, r)),
		"version-word-only": stream(word(5)),
		"header-cut":        stream(v5Message(1, 0, 0)[:23]),
		"count-0":           stream(v5Message(0, 0, 0, r)),
		"count-lies":        stream(v5Message(30, 0, 0, r)),
		"count-65535":       stream(v5Message(65535, 0, 0, r)),
		"sampling-largest":  stream(v5Message(1, 0, 0xffff, r)),
		"record-cut":        stream(v5Message(1, 0, 0, r[:47])),
		"two-messages":      stream(append(v5Message(1, 0, 0, r), v5Message(1, 1, 0, r)...)),
		"unknown-version":   stream(word(7), word(0), word(0xffff)),
		"empty":             stream(nil, []byte{5}),
		"ones":              stream(append(v5Message(1, 0, 0), bytes.Repeat([]byte{255}, 48)...)),
	}
}

func seeds() map[string]map[string][]byte {
	file := newStore()
	return map[string]map[string][]byte{
		"FuzzV5": hostileV5(), "FuzzV9": hostile(false), "FuzzIPFIX": hostile(true),
		"FuzzSequence": sequenceSeeds(),
		"FuzzFile":     {"empty": file.encode(1, 1), "magic": []byte(fileMagic), "full": filledStore().encode(1, 1)},
	}
}

// The committed corpus is what this file makes.
func TestCorpus(t *testing.T) {
	for target, inputs := range seeds() {
		var same func(string) bool
		if target == "FuzzFile" { // whose maps have no order
			same = func(string) bool { return true }
		}
		sdktest.Corpus(t, target, inputs, *update, same)
	}
}

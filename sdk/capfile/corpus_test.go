package capfile

import (
	"encoding/binary"
	"flag"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

var update = flag.Bool("update", false, "rewrite the fuzz corpus that tests commit")

// corpus is where fuzzing starts: one small file of every kind.
func corpus(t *testing.T) map[string][]byte {
	le, be := binary.LittleEndian, binary.BigEndian
	w := want{Time: noon, Wire: 60, Data: "\x02\x00\x00\x00\x45\x00"}
	micro := uint64(noon / 1000)
	c := func(o binary.ByteOrder, nano bool) []byte {
		return classic(o, nano, traffic.LinkNull).record(w, 1000).record(w, 1000).Bytes()
	}
	n := func(o binary.ByteOrder) []byte {
		b := ng(o).iface(traffic.LinkNull, 4, option{optionTSResol, uint8(0x80 | 20)}, option{optionTSOffset, int64(5)})
		b.enhanced(0, micro, w).simple(w).obsolete(0, micro, w).block(9, b.body().put(uint32(1)))
		return b.section().iface(traffic.LinkRaw, 0).enhanced(0, micro, w).enhanced(3, micro, w).Bytes()
	}
	return map[string][]byte{
		"classic-little":      c(le, false),
		"classic-big-nano":    c(be, true),
		"classic-gzip":        gzipped(t, c(le, true)),
		"classic-cut":         c(le, false)[:60],
		"classic-caplen":      classic(le, false, 1).put(uint64(1), uint32(0x7fffffff), uint32(1)).Bytes(),
		"classic-modified":    {0x34, 0xcd, 0xb2, 0xa1},
		"ng-little":           n(le),
		"ng-big":              n(be),
		"ng-gzip-cut":         gzipped(t, n(be))[:80],
		"ng-cut":              n(le)[:100],
		"ng-block-length":     ng(le).put(uint32(6), uint32(0xfffffffc)).Bytes(),
		"ng-caplen":           ng(le).iface(1, 0).block(blockEnhanced, (&builder{order: le}).put(uint32(0), uint64(1), uint32(0xffffffff), uint32(1))).Bytes(),
		"ng-resolution-large": ng(le).iface(1, 0, option{optionTSResol, uint8(127)}).enhanced(0, 1<<63, w).Bytes(),
	}
}

// The committed corpus is what this file makes.
func TestCorpus(t *testing.T) {
	inputs := corpus(t)
	// Compressed bytes may differ between versions of the library.
	sdktest.Corpus(t, "FuzzReader", inputs, *update, func(name string) bool { return inputs[name][0] == 0x1f })
}

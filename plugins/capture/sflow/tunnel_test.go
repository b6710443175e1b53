package main

import (
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Of a sampled tunnel packet both packets may count, each as often as the rate
// says, with the same frame behind them.
func TestDecapsulate(t *testing.T) {
	inner := someFrames(3, false)
	for how, each := range map[string]int{"outer": 1, "inner": 1, "both": 2} {
		c := defaults()
		c.Decapsulate = map[string]string{"gre": how}
		b := newBench(t, c)
		b.out.size = 1
		d := device{datagram: datagram{agent: agent4}, rate: 1000}
		for _, f := range inner {
			packet := f[14:]
			length := byte(24 + 60) // the header is cut, as sampled ones are
			frame := join(make([]byte, 12), []byte{8, 0, 0x45, 0, 0, length, 0, 0, 0, 0, 64, 47, 0, 0}, src4.AsSlice(), hop4.AsSlice(), []byte{0, 0, 8, 0}, packet[:60])
			d.add(frame)
		}
		d.flush()
		b.give(d.out...)
		if len(b.out.records) != each*len(inner) {
			t.Fatalf("%s: %d records, lost %v", how, len(b.out.records), b.out.lost)
		}
		for i, r := range b.out.records {
			want := parsed(inner[i/each])
			isOuter := how == "outer" || how == "both" && i%2 == 0
			if isOuter != (r.Protocol == traffic.ProtoGRE) || !isOuter && (r.Src != want.Src || r.Bytes != 1000*want.Bytes) {
				t.Errorf("%s: record %d: %+v", how, i, r)
			}
			if r.Packets != 1000 || r.Sampling != 1000 || r.InIf != 5 || r.Exporter == 0 || r.Time == 0 || len(b.out.frames[i]) < 80 {
				t.Errorf("%s: record %d is not scaled like the sample: %+v", how, i, r)
			}
		}
	}
}

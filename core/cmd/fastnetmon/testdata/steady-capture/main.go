// Command steady-capture is a capture of traffic at a steady rate, as a socket
// would give it: what comes in while the process does not run waits for it.
package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type config struct {
	Target string `hcl:"target" doc:"address that receives the traffic"`
	PPS    int    `hcl:"pps" doc:"packets per second"`
	Queued int    `hcl:"queued,optional" doc:"packets that wait already when the capture starts"`
	Lose   int    `hcl:"lose,optional" doc:"percent of the packets that are lost"`
	Factor string `hcl:"factor,optional" doc:"file with a number by which the rate is multiplied, while it exists"`
}

type source struct {
	cfg    config
	target [16]byte
	port   uint16
}

func build(c config, _ sdk.Env) (*source, error) {
	a, err := netip.ParseAddr(c.Target)
	return &source{cfg: c, target: a.As16()}, err
}

func (s *source) Causes() []string { return []string{"lost"} }

// Run gives what has come since it last looked.
func (s *source) Run(ctx context.Context, w *sdk.Writer) error {
	owed := float64(s.cfg.Queued)
	last := count.Monotonic()
	for ctx.Err() == nil {
		now := count.Monotonic()
		owed += float64(now-last) / 1e9 * float64(s.cfg.PPS) * s.factor()
		last = now
		for owed >= 1 {
			owed -= s.give(w, owed)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func (s *source) factor() float64 {
	text, err := os.ReadFile(s.cfg.Factor)
	if err != nil {
		return 1
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		return 1
	}
	return f
}

func (s *source) give(w *sdk.Writer, owed float64) float64 {
	records := w.Reserve(int(min(owed, 512)))
	kept := records[:0]
	for range records {
		s.port++
		if int(s.port)%100 < s.cfg.Lose {
			continue
		}
		r := traffic.Record{
			Dst: s.target, Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, SrcPort: s.port, DstPort: 53,
			Src: netip.AddrFrom4([4]byte{198, 51, 100, 1}).As16(),
		}
		binary.BigEndian.PutUint16(r.Src[14:], s.port)
		kept = append(kept, r)
	}
	w.Commit(len(kept), nil)
	if lost := len(records) - len(kept); lost > 0 {
		w.Dropped(0, uint64(lost))
	}
	return float64(len(records))
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "steady", Version: "0.1.0", Summary: "gives traffic at a steady rate", Capture: sdk.NewCapture(config{}, build)})
}

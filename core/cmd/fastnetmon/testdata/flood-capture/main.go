// Command flood-capture is a capture for long runs: packets to random hosts, as
// fast as they are taken or at a rate, and a flood hidden among them.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type config struct {
	Network string `hcl:"network" doc:"prefix whose hosts receive the packets"`
	Hosts   int    `hcl:"hosts,optional" doc:"how many of them; 0: each packet has a random one"`
	PPS     int    `hcl:"pps,optional" doc:"packets per second; 0: as many as are taken"`
	Hidden  string `hcl:"hidden,optional" doc:"host that receives hidden_pps besides, while the file trigger exists"`
	Flood   int    `hcl:"hidden_pps,optional" doc:"packets per second"`
	Trigger string `hcl:"trigger,optional" doc:"file"`
	Account string `hcl:"account,optional" doc:"file to which the number of packets is written at the end"`
}

type flood struct {
	cfg    config
	net    [16]byte
	hidden [16]byte
	bits   int // that are the network's
	v6     bool
	rng    *rand.Rand
	given  uint64
}

func build(c config, _ sdk.Env) (*flood, error) {
	p, err := netip.ParsePrefix(c.Network)
	if err != nil {
		return nil, err
	}
	f := &flood{cfg: c, net: p.Addr().As16(), v6: p.Addr().Is6(), bits: p.Bits(), rng: rand.New(rand.NewPCG(1, 2))}
	if !f.v6 {
		f.bits += 96
	}
	if c.Hidden != "" {
		a, err := netip.ParseAddr(c.Hidden)
		if err != nil {
			return nil, err
		}
		f.hidden = a.As16()
	}
	return f, nil
}

// Run gives packets until it is stopped.
func (f *flood) Run(ctx context.Context, w *sdk.Writer) error {
	start := count.Monotonic()
	last, looked, hiddenOwed, on := start, int64(0), 0.0, false
	for ctx.Err() == nil {
		now := count.Monotonic()
		if now-looked > int64(50*time.Millisecond) {
			looked = now
			_, err := os.Stat(f.cfg.Trigger)
			on = err == nil
		}
		if on {
			hiddenOwed += float64(now-last) / 1e9 * float64(f.cfg.Flood)
		}
		last = now
		for hiddenOwed >= 1 {
			hiddenOwed -= float64(f.give(w, int(hiddenOwed), true))
		}
		n := 512
		if f.cfg.PPS > 0 {
			due := uint64(float64(now-start) / 1e9 * float64(f.cfg.PPS))
			if n = int(due) - int(f.given); n < 64 {
				time.Sleep(200 * time.Microsecond)
				continue
			}
		}
		f.given += uint64(f.give(w, n, false))
	}
	if f.cfg.Account == "" {
		return ctx.Err()
	}
	return os.WriteFile(f.cfg.Account, fmt.Appendln(nil, f.given), 0o600)
}

func (f *flood) give(w *sdk.Writer, n int, hidden bool) int {
	records := w.Reserve(n)
	for i := range records {
		r := &records[i]
		*r = traffic.Record{
			Src: [16]byte{10: 0xff, 11: 0xff, 12: 198, 13: 51, 14: 100, 15: 1}, Dst: f.hidden,
			Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, SrcPort: 123, DstPort: 40000,
		}
		if f.v6 {
			r.Marks, r.Src = traffic.MarkIPv6, [16]byte{0: 0x2a, 15: 1}
		}
		if !hidden {
			r.Dst = f.random()
		}
	}
	w.Commit(len(records), nil)
	return len(records)
}

// random is one of the hosts.
func (f *flood) random() [16]byte {
	a := f.net
	if f.cfg.Hosts > 0 {
		n := binary.BigEndian.Uint32(a[12:]) + f.rng.Uint32N(uint32(f.cfg.Hosts))
		binary.BigEndian.PutUint32(a[12:], n)
		return a
	}
	var x [16]byte
	binary.BigEndian.PutUint64(x[:], f.rng.Uint64())
	binary.BigEndian.PutUint64(x[8:], f.rng.Uint64())
	for i := range x {
		keep := min(max(f.bits-8*i, 0), 8) // bits of this octet that are the network's
		mask := byte(0xff) >> keep
		a[i] = a[i]&^mask | x[i]&mask
	}
	return a
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "flood", Version: "0.1.0", Summary: "packets to random hosts", Capture: sdk.NewCapture(config{}, build)})
}

// Command latency-capture is a capture for measuring: it hands over packets
// when a schedule says so, and writes down when it did. The clock of both the
// schedule's playing and the notes is the stream's.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

const (
	// entrySize: when (nanoseconds after the start, little-endian), 1 where
	// our host is the source else 0, seven octets unused, our host (16
	// octets, IPv4 mapped).
	entrySize = 32
	// pace is the shortest pause: packets closer together go together.
	pace = 200 * time.Microsecond
)

type config struct {
	Schedule string `hcl:"schedule" doc:"file of entries: when a packet comes, and of which host of ours"`
	Played   string `hcl:"played" doc:"file to write at the end: for each entry the stream's clock when it was handed over, 8 octets"`
}

type player struct{ cfg config }

func build(c config, _ sdk.Env) (*player, error) { return &player{c}, nil }

// Run plays the schedule once.
func (p *player) Run(ctx context.Context, w *sdk.Writer) error {
	entries, err := os.ReadFile(p.cfg.Schedule)
	if err != nil {
		return err
	}
	if len(entries)%entrySize != 0 {
		return fmt.Errorf("%s: %d octets are no whole number of entries", p.cfg.Schedule, len(entries))
	}
	played := make([]byte, 0, len(entries)/entrySize*8)
	start := count.Monotonic()
	for len(entries) > 0 {
		now := count.Monotonic()
		n := give(w, entries, now-start)
		for range n {
			played = binary.LittleEndian.AppendUint64(played, uint64(now))
		}
		entries = entries[n*entrySize:]
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(time.Duration(due(entries)-(now-start)), pace)):
		}
	}
	// Whoever waits for the file must find all of it.
	if err := os.WriteFile(p.cfg.Played+".part", played, 0o600); err != nil {
		return err
	}
	return os.Rename(p.cfg.Played+".part", p.cfg.Played)
}

func due(entry []byte) int64 { return int64(binary.LittleEndian.Uint64(entry)) }

// give hands over what is due, as much as fits one batch.
func give(w *sdk.Writer, entries []byte, elapsed int64) int {
	if due(entries) > elapsed {
		return 0
	}
	records := w.Reserve(512)
	n := 0
	for n < len(records) && len(entries) > 0 && due(entries) <= elapsed {
		fill(&records[n], entries[8] != 0, [16]byte(entries[16:entrySize]))
		entries = entries[entrySize:]
		n++
	}
	w.Commit(n, nil)
	return n
}

// remotes are who our hosts talk to, by family.
var remotes = map[bool][16]byte{
	false: netip.MustParseAddr("198.51.100.7").As16(),
	true:  netip.MustParseAddr("2a00::7").As16(),
}

func fill(r *traffic.Record, outgoing bool, host [16]byte) {
	v6 := !netip.AddrFrom16(host).Is4In6()
	*r = traffic.Record{
		Src: remotes[v6], Dst: host, Packets: 1, Bytes: 500,
		Protocol: traffic.ProtoUDP, SrcPort: 123, DstPort: 40000,
	}
	if v6 {
		r.Marks = traffic.MarkIPv6
	}
	if outgoing {
		r.Src, r.Dst = r.Dst, r.Src
	}
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "latency", Version: "0.1.0", Summary: "plays a schedule and notes the times", Capture: sdk.NewCapture(config{}, build)})
}

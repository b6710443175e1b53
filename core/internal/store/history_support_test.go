package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// made is attacks as a network has them: some targets often, labels of unlike
// frequency, a few carpets, IPv6.
type made struct {
	r    *rand.Rand
	n    int
	gap  time.Duration
	long bool // with evidence of the usual size
}

var madeLabels = []string{"syn_flood", "udp_flood", "dns_reflection", "ntp_reflection", "icmp_flood", "carpet", "memcached_reflection"}

func (m *made) next() sdk.Event {
	m.n++
	started := epoch.Add(time.Duration(m.n) * m.gap)
	n := m.r.IntN(1 << 16)
	target := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(m.r.IntN(1 + m.n%7)), byte(n >> 8), byte(n)}), 32)
	switch m.r.IntN(20) {
	case 0:
		target = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(n), 15: byte(n >> 8)}), 128)
	case 1:
		target = netip.PrefixFrom(target.Addr(), 24).Masked()
	case 2:
		target = netip.Prefix{} // a hostgroup of several prefixes
	}
	e := sdk.Event{
		Type: sdk.AttackEnded, ID: fmt.Sprintf("%016x", m.r.Uint64()), Seq: 3, Time: started.Add(time.Duration(1+m.r.IntN(3600)) * time.Second), Started: started,
		Target: target, Direction: "incoming", HostGroup: fmt.Sprintf("group%d", min(m.r.IntN(40), m.r.IntN(40))), Network: "customers", Mode: "monitor", Revision: "r1",
		Label: madeLabels[min(m.r.IntN(7), m.r.IntN(7))], Confidence: 0.9, AttackType: "udp_flood", Protocol: "udp",
		PeakPPS: float64(int(1000 / (1e-6 + m.r.Float64()))), InitialPPS: 1000,
	}
	if n%4 == 0 {
		e.Direction = "outgoing"
	}
	switch m.r.IntN(100) {
	case 0:
		e.Type = sdk.AttackUpdated
	case 1:
		e.Label = ""
	}
	e.Crossed = []sdk.Crossing{{Threshold: "flood", Scope: "host", Counter: "total", Unit: "pps", Value: e.PeakPPS, Limit: 1000, Window: time.Second, Rule: "average", At: started}}
	if n%50 == 0 {
		e.Crossed = append(e.Crossed, sdk.Crossing{Threshold: "act", Counter: "udp", Unit: "bps", Value: 1e9, Limit: 1e8, At: started})
	}
	e.Crossing = e.Crossed[0]
	if m.long {
		e.Evidence = evidenceOf(m.r)
	}
	return e
}

func evidenceOf(r *rand.Rand) *sdk.EvidenceReport {
	out := &sdk.EvidenceReport{
		Samples: 100, Frames: 100, Packets: 100_000, Bytes: 1e8, Complete: true, Basis: "packets", Reasons: []string{"94 % of packets come from port 53"},
		Spoofed: "unlikely", SourceEntropy: 0.9, PCAP: "/var/lib/fastnetmon/evidence/x.pcap", Dump: []sdk.Sample{{Data: make([]byte, 1500)}},
	}
	for _, name := range []string{"sources", "source_ports", "destination_ports", "sizes", "ttls"} {
		t := sdk.Top{Name: name, Distinct: 80}
		for range 10 {
			t.Rows = append(t.Rows, sdk.TopRow{Value: fmt.Sprint(r.IntN(65536)), Packets: 1000, Bytes: 1e6, Share: 0.01})
		}
		out.Tops = append(out.Tops, t)
	}
	for i := range 60 {
		out.Timeline = append(out.Timeline, sdk.TimelinePoint{Second: i, PPS: r.Float64() * 1e6, BPS: r.Float64() * 1e9})
	}
	return out
}

func forever() Retention { return Retention{} }

// history opens one, and ends it with the test.
func history(t testing.TB, path string, keep func() Retention) *History {
	t.Helper()
	h := OpenHistory(HistoryOptions{Path: path, Retention: keep, Log: hclog.NewNullLogger(), Again: 300 * time.Millisecond})
	t.Cleanup(h.Close)
	return h
}

// settled waits until what was offered is in the file.
func settled(t testing.TB, h *History) *Reader {
	t.Helper()
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		done := h.settled == h.offered && h.fault == nil
		h.mu.Unlock()
		if r, err := h.Reader(); done && err == nil {
			return r
		}
	}
	t.Fatalf("not written: %v", h.Troubles())
	return nil
}

// fill writes events into a file, without a History.
func fill(t testing.TB, path string, n int, next func() sdk.Event) (events []sdk.Event) {
	t.Helper()
	db, err := Open(path, Options{Kind: historyKind}, historyMigrations...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.bolt.NoSync = true
	var enc encoder
	for n > 0 {
		part := min(n, 4000)
		n -= part
		if err := db.Update(func(tx *bbolt.Tx) error {
			tables := tablesOf(tx)
			for range part {
				e := next()
				b, err := enc.encode(&e)
				if err != nil {
					return err
				}
				if err := tables.put(&e, b); err != nil {
					return err
				}
				if len(events) < 100_000 {
					events = append(events, e)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func reader(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func historyPath(t testing.TB) string { return filepath.Join(t.TempDir(), HistoryFile) }

package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Sizes of the mix: hosts that are counted, and listed prefixes.
const (
	mixHosts    = 10_000
	mixPrefixes = 100_000
	mixRecords  = 1 << 15
)

// mixSources are 100,000 addresses, and the prefix of each.
func mixSources() (addresses []netip.Addr, prefixes []netip.Prefix) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range mixPrefixes {
		a := netip.AddrFrom4([4]byte{byte(rng.IntN(224)), byte(rng.Int()), byte(rng.Int()), byte(rng.Int())})
		addresses = append(addresses, a)
		prefixes = append(prefixes, netip.PrefixFrom(a, 16+rng.IntN(17)).Masked())
	}
	return addresses, prefixes
}

// mixOf is the mix of the benchmarks: two packets in three UDP, one of these in
// three a DNS reply; sources picked from the listed ones, half of them beside
// their prefix.
func mixOf(name string) []traffic.Record {
	addresses, _ := mixSources()
	rng := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(rng, 1.2, 1, mixPrefixes-1)
	records := make([]traffic.Record, mixRecords)
	for i := range records {
		n := rng.IntN(mixPrefixes)
		if name == "zipf" {
			n = int(zipf.Uint64())
		}
		dst := rng.IntN(mixHosts)
		r := traffic.Record{
			Src: addresses[n].As16(), Dst: netip.AddrFrom4([4]byte{10, byte(dst >> 16), byte(dst >> 8), byte(dst)}).As16(),
			Packets: 1, Bytes: uint64(64 + rng.IntN(1400)), Sampling: 1, Protocol: []uint8{traffic.ProtoTCP, traffic.ProtoUDP, traffic.ProtoUDP}[rng.IntN(3)],
			SrcPort: []uint16{53, 443, 1024}[rng.IntN(3)], DstPort: uint16(rng.Int()), InIf: uint32(rng.IntN(64)),
		}
		if i%2 == 1 {
			r.Src[15] ^= 1 << rng.IntN(8)
		}
		records[i] = r
	}
	return records
}

// writeMix writes a mix for ever, in replay as fast as filters and core take
// it, live at RATE records a second.
func writeMix(ctx context.Context, w *sdk.Writer, name string) error {
	mix := mixOf(name)
	start, written := time.Now(), 0
	for at := 0; ctx.Err() == nil; {
		if rate := number("RATE"); rate > 0 {
			due := int(time.Since(start).Seconds() * float64(rate))
			if due-written < 256 {
				time.Sleep(50 * time.Microsecond)
				continue
			}
		}
		batch := w.Reserve(min(256, len(mix)-at))
		n := copy(batch, mix[at:])
		if w.Replay() {
			for i := range n {
				written++
				batch[i].Time = int64(written) * 250
			}
		} else {
			written += n
		}
		w.Commit(n, nil)
		at = (at + n) % len(mix)
	}
	return nil
}

// busyFor is the processor time that a process has had, in nanoseconds.
func busyFor(b *testing.B, pid int) (sum uint64) {
	b.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		b.Fatalf("no processor time of %d: %v", pid, err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		var n uint64
		if _, bad := fmt.Sscan(string(text), &n); err != nil || bad != nil {
			b.Fatalf("%s: %v", task, err)
		}
		sum += n
	}
	return sum
}

// BenchmarkFilterProcesses is what a record costs from a capture's process
// through a ring and real filter processes into the core. The figures that do
// not depend on what else the machine does are processor time: filter-ns is that
// of each filter's process, capture-ns that of the capture, which writes records,
// copies them back and counts them. records/s is by the clock: two cores carry
// 2e9 / (filter-ns + capture-ns).
func BenchmarkFilterProcesses(b *testing.B) {
	programs := buildFilters(b, "bpf", "prefix", luaFilter(b))
	list := filepath.Join(b.TempDir(), "list")
	var lines strings.Builder
	_, prefixes := mixSources()
	for _, p := range prefixes {
		fmt.Fprintln(&lines, p)
	}
	script := filepath.Join(b.TempDir(), "five.lua")
	for path, text := range map[string]string{
		list:   lines.String(),
		script: "function filter(r) return not (r.protocol == 17 and (r.src_port == 53 or r.dst_port == 53) and r.length > 512 and r.in_if == 33) end\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	listed := fmt.Sprintf("files = [%q]\nmatch = \"source\"", list)
	const replies = `expression = "not (udp and src port 53 and src net 198.51.100.0/24)"`
	five := fmt.Sprintf("script = %q", script)
	for _, c := range []struct {
		name, mix string
		filters   [][2]string // program, body
		rate      int         // 0: as fast as it goes
	}{
		{"none", "zipf", nil, 0},
		{"empty", "zipf", [][2]string{{"empty", ""}}, 0},
		{"bpf", "zipf", [][2]string{{"bpf", replies}}, 0},
		{"prefix zipf", "zipf", [][2]string{{"prefix", listed}}, 0},
		{"prefix uniform", "uniform", [][2]string{{"prefix", listed}}, 0},
		{"lua", "zipf", [][2]string{{"lua", five}}, 0},
		{"gopher-lua", "zipf", [][2]string{{"lua", five + "\nengine = \"gopher-lua\""}}, 0},
		{"three", "zipf", [][2]string{{"prefix", listed}, {"bpf", replies}, {"lua", five}}, 0},
		{"bpf live at 4M a second", "zipf", [][2]string{{"bpf", replies}}, 4_000_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			var blocks []*prepared
			for i, f := range c.filters {
				if f[0] == "empty" {
					blocks = append(blocks, stub(host.KindFilter, f[0], config.Process{OnFailure: "stop"}, "EMPTY", "1"))
					continue
				}
				p := realFilter(b, programs, f[0], f[1], config.Process{OnFailure: "stop"})
				p.block.Instance = fmt.Sprint(i)
				blocks = append(blocks, p)
			}
			benchFilters(b, newStubs(b, c.rate > 0, blocks...), c.mix, c.rate)
		})
	}
}

// benchFilters measures while b.N records pass.
func benchFilters(b *testing.B, s *stubs, mix string, rate int) {
	s.run()
	s.startFilters()
	c := s.capture("a", rate == 0, "WORKERS", "1", "MIX", mix, "RATE", fmt.Sprint(rate))
	c.inst.Start()
	received := func() uint64 { // by the ring, whose last filter has judged so many
		c.wires.Lock()
		defer c.wires.Unlock()
		if len(c.records) > 0 {
			return c.records[0].Stats().Judged
		}
		rows, _ := s.counted()
		return rows[0].Received
	}
	s.await("records flow", func() bool { return received() > 1<<17 })
	pids := []int{c.inst.Status().PID}
	for _, f := range s.wiring.filters {
		pids = append(pids, f.inst.Status().PID)
	}
	busy := func() (out []uint64) {
		for _, pid := range pids {
			out = append(out, busyFor(b, pid))
		}
		return out
	}
	b.ResetTimer()
	before, from := busy(), received()
	for received() < from+uint64(b.N) {
		time.Sleep(time.Millisecond)
	}
	n := float64(received() - from)
	after := busy()
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(after[0]-before[0])/n, "capture-ns")
	sum := after[0] - before[0]
	for i := range s.wiring.filters {
		sum += after[i+1] - before[i+1]
		b.ReportMetric(float64(after[i+1]-before[i+1])/n, "filter-ns"+strings.Repeat("'", i))
	}
	b.ReportMetric(2e9/(float64(sum)/n), "records/s-on-2-cores")
	rows, _ := s.counted()
	for cause, lost := range rows[0].Dropped {
		if cause != "filtered" {
			b.Logf("%d records lost: %s", lost, cause)
		}
	}
}

package main

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

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

func record(src, dst string) traffic.Record {
	return traffic.Record{Src: netip.MustParseAddr(src).As16(), Dst: netip.MustParseAddr(dst).As16(), Packets: 1, Bytes: 100}
}

// What becomes of records, in each way to match and each thing to do.
func TestJudge(t *testing.T) {
	records := []traffic.Record{
		record("198.51.100.1", "203.0.113.1"), // source
		record("203.0.113.1", "198.51.100.1"), // destination
		record("2001:db8::1", "2001:db8::2"),  // both
		record("192.0.2.1", "203.0.113.1"),    // neither
		record("198.51.100.200", "192.0.2.1"), // excepted
	}
	const lists = "prefixes = [\"198.51.100.0/24\", \"2001:db8::/32\"]\nexcept = [\"198.51.100.128/25\"]\n"
	for _, c := range []struct{ match, want string }{{"source", "y.y.."}, {"destination", ".yy.."}, {"either", "yyy.."}} {
		for _, then := range []string{verdict.Drop, verdict.Keep, verdict.Mark} {
			config := lists + fmt.Sprintf("match = %q\nthen = %q\n", c.match, then)
			if then == verdict.Mark {
				config += "class = 63\n"
			}
			judged, err := sdktest.New(t, plugin(), config).Judge(records)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range judged {
				match := c.want[i] == 'y'
				dropped, marked := match && then == verdict.Drop || !match && then == verdict.Keep, match && then == verdict.Mark
				if (r.Verdict == traffic.VerdictDrop) != dropped || (r.Class == 1<<63) != marked || r.Class&^(1<<63) != 0 {
					t.Errorf("%s, %s: record %d has verdict %d and class %x", c.match, then, i, r.Verdict, r.Class)
				}
			}
		}
	}
}

// A list that changes is in force without a restart; one that is emptied is
// held, and the filter says so.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	step := time.Unix(1_700_000_000, 0)
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		step = step.Add(time.Second)
		if err := os.Chtimes(path, step, step); err != nil {
			t.Fatal(err)
		}
	}
	for _, hold := range []bool{true, false} {
		write("198.51.100.0/24\n192.0.2.0/24\n")
		f, err := newFilter(config{Files: []string{path}, Match: matchEither, Then: verdict.Drop, Hold: hold}, sdk.Env{Logger: hclog.NewNullLogger(), Mode: sdk.ModeReplay})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		drops := func(addr string) bool {
			j, _ := f.NewWorker()
			batch := []traffic.Record{record(addr, "203.0.113.1")}
			if err := j.Judge(batch); err != nil {
				t.Fatal(err)
			}
			return batch[0].Verdict == traffic.VerdictDrop
		}
		write("198.51.100.0/24\n192.0.2.0/24\n203.0.113.7\n")
		f.poll()
		f.poll()
		if !drops("203.0.113.7") || f.Health(t.Context()) != nil {
			t.Errorf("a longer list is not in force: %v", f.Health(t.Context()))
		}
		write("")
		f.poll()
		f.poll()
		if drops("203.0.113.7") != hold {
			t.Errorf("hold = %v: dropped %v", hold, drops("203.0.113.7"))
		}
		if err := f.Health(t.Context()); hold != (err != nil) || hold && !strings.Contains(err.Error(), "it has 0 prefixes and had 3") {
			t.Errorf("hold = %v: health %v", hold, err)
		}
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// The figures to hold beside the bars: 100,000 prefixes, ns a record.
func BenchmarkJudge(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var lines strings.Builder
	var hits []netip.Addr
	for range 100_000 {
		a := netip.AddrFrom4([4]byte{byte(rng.IntN(224)), byte(rng.Int()), byte(rng.Int()), byte(rng.Int())})
		p := netip.PrefixFrom(a, 16+rng.IntN(17)).Masked()
		hits = append(hits, a)
		fmt.Fprintln(&lines, p)
	}
	path := filepath.Join(b.TempDir(), "list")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := newFilter(config{Files: []string{path}, Match: matchSource, Then: verdict.Drop}, sdk.Env{Logger: hclog.NewNullLogger(), Mode: sdk.ModeReplay})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	zipf := rand.NewZipf(rng, 1.2, 1, uint64(len(hits)-1))
	for name, pick := range map[string]func() netip.Addr{
		"zipf":    func() netip.Addr { return hits[zipf.Uint64()] },
		"uniform": func() netip.Addr { return hits[rng.IntN(len(hits))] },
	} {
		records := make([]traffic.Record, 512*64)
		for i := range records {
			records[i] = traffic.Record{Src: pick().As16(), Packets: 1}
			if i%2 == 1 {
				records[i].Src[15] ^= 1 << rng.IntN(8)
			}
		}
		b.Run(name, func(b *testing.B) {
			j, err := f.NewWorker()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for n, at := 0, 0; n < b.N; n, at = n+512, (at+512)%len(records) {
				if err := j.Judge(records[at : at+512]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/record")
		})
	}
}

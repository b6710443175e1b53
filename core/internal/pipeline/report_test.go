package pipeline

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/corpus"
	"github.com/fastnetmon-go/fastnetmon/core/internal/detect"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// ruleVariant is a way to decide, with the settings of a hostgroup for it.
type ruleVariant struct{ name, settings string }

var ruleVariants = []ruleVariant{
	{"average alone", `burst = []`},
	{"7x1.5", `burst = ["7x1.5"]`},
	{"4x3", `burst = ["4x3"]`},
	{"2x8", `burst = ["2x8"]`},
	{"all three, the default", ``},
	{"FastNetMon Community's rule", `detection = "fastnetmon"`},
	{"half as long: 4x1.5, 2x3, 1x8", `burst = ["4x1.5", "2x3", "1x8"]`},
}

const modelLimit = 500 // packets per second of every host

// modelTraffic is what one host gets.
type modelTraffic interface{ Due(t time.Duration) float64 }

// falsePositives plays ordinary traffic of hosts to each variant at once, for
// a time, and returns how many attacks each told of, and of how many hosts.
func falsePositives(tb testing.TB, hosts int, length time.Duration, model func(seed uint64) modelTraffic) (attacks, victims []int) {
	tb.Helper()
	var groups strings.Builder
	for v, variant := range ruleVariants {
		fmt.Fprintf(&groups, `
hostgroup "v%d" {
  prefixes = ["10.%d.0.0/16"]
  %s
  threshold "flood" {
    direction = "incoming"
    pps       = %d
  }
}
`, v, v, variant.settings, modelLimit)
	}
	b := newCountBed(tb, load(tb, "network \"n\" { prefixes = [\"10.0.0.0/8\"] }\n"+groups.String()))
	traffics := make([]modelTraffic, hosts)
	for h := range traffics {
		traffics[h] = model(uint64(h))
	}
	templates := modelRecords(hosts)
	given := make([]float64, hosts)
	batch := make([]traffic.Record, 0, len(templates))
	attacks, victims = make([]int, len(ruleVariants)), make([]int, len(ruleVariants))
	seen := map[netip.Prefix]bool{}
	for t := time.Duration(0); t < length; t += time.Duration(windowNanos) {
		batch = batch[:0]
		for h := range traffics {
			due := math.Floor(traffics[h].Due(t + time.Duration(windowNanos)))
			packets := uint64(due - given[h])
			given[h] = due
			for v := range ruleVariants {
				if packets > 0 {
					r := templates[h*len(ruleVariants)+v]
					r.Packets, r.Bytes = packets, packets*500
					batch = append(batch, r)
				}
			}
		}
		for _, e := range b.window(batch) {
			if e.Type == detect.Started {
				v := e.Attack.Target.Addr().As4()[1]
				attacks[v]++
				if !seen[e.Attack.Target] {
					seen[e.Attack.Target] = true
					victims[v]++
				}
			}
		}
	}
	return attacks, victims
}

// modelRecords are one for each host and variant.
func modelRecords(hosts int) []traffic.Record {
	var out []traffic.Record
	for h := range hosts {
		for v := range ruleVariants {
			host := netip.AddrFrom4([4]byte{10, byte(v), byte(h >> 8), byte(h)})
			out = append(out, traffic.Record{
				Src: netip.MustParseAddr("192.0.2.1").As16(), Dst: host.As16(), Protocol: traffic.ProtoUDP, SrcPort: 443, DstPort: 40000, Sampling: 1,
			})
		}
	}
	return out
}

// window counts one window's records and returns what the detector says.
func (b *countBed) window(batch []traffic.Record) []detect.Event {
	b.t.Helper()
	b.table.Add(batch, b.now)
	b.now += windowNanos
	b.deltas = b.deltas[:0]
	b.table.Flush(b, count.Window{End: b.now, Generation: 1})
	if err := b.engine.Apply(b.ring, b.deltas); err != nil {
		b.t.Fatal(err)
	}
	b.engine.Advance(b.now)
	return b.det.Step(b.now)
}

// stated is the stated model at a multiple of the limit, on average.
func stated(tb testing.TB, average float64) func(uint64) modelTraffic {
	return func(seed uint64) modelTraffic {
		pps, bursts := corpus.Model(modelLimit, average)
		p, err := gen.NewPace(pps, bursts, seed)
		if err != nil {
			tb.Fatal(err)
		}
		return p
	}
}

func rough(seed uint64) modelTraffic { return corpus.NewRough(modelLimit, seed) }

// The stated model is no attack at 0.8 × the limit whatever the rules are, but
// for those that are made to be too quick; at twice the limit it is, to all.
func TestStatedModel(t *testing.T) {
	const hosts = 10
	attacks, _ := falsePositives(t, hosts, 5*time.Minute, stated(t, 0.8))
	for v := range ruleVariants[:len(ruleVariants)-1] {
		if attacks[v] > 0 {
			t.Errorf("%s: %d attacks seen in ordinary traffic of %d hosts", ruleVariants[v].name, attacks[v], hosts)
		}
	}
	_, victims := falsePositives(t, hosts, 10*time.Second, stated(t, 2))
	for v := range ruleVariants {
		if victims[v] != hosts {
			t.Errorf("%s: %d of %d hosts seen at twice the limit", ruleVariants[v].name, victims[v], hosts)
		}
	}
}

// What the report says of the models is what is played.
func TestReportStatesTheModels(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{corpus.ModelText, corpus.RoughText} {
		if !strings.Contains(string(b), text) {
			t.Errorf("core/README.md does not state the model as it is; make report writes it: %s", text)
		}
	}
}

// BenchmarkReport plays some days of one host to each model and rule, and
// writes what it found into the files that FASTNETMON_REPORT names.
func BenchmarkReport(b *testing.B) {
	path := os.Getenv("FASTNETMON_REPORT")
	if path == "" {
		b.Skip("FASTNETMON_REPORT names no files to write into; make report does")
	}
	const hosts, length = 400, time.Hour
	days := hosts * length.Hours() / 24
	var text strings.Builder
	fmt.Fprintf(&text, "False positives for each host and day, over %.0f days of one host for each number, on two models of traffic that is no attack, average 5 s. "+
		"*Stated*: %s. *Rough*: %s.\n\n", days, corpus.ModelText, corpus.RoughText)
	text.WriteString("| burst rules | stated model | rough model |\n|---|---|---|\n")
	for b.Loop() {
		calm, _ := falsePositives(b, hosts, length, stated(b, 0.8))
		wild, _ := falsePositives(b, hosts, length, rough)
		for v, variant := range ruleVariants {
			fmt.Fprintf(&text, "| %s | %s | %s |\n", variant.name, perDay(calm[v], days), perDay(wild[v], days))
		}
	}
	if err := corpus.Quote(path, "false positives", text.String()); err != nil {
		b.Fatal(err)
	}
	b.Log("\n" + text.String())
}

func perDay(attacks int, days float64) string {
	if attacks == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2g", float64(attacks)/days)
}

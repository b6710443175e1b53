package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// floods gives a target's packets as fast as they are taken.
func floods(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	for i := range req.Limit {
		r := traffic.Record{
			Src: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).As16(), Dst: req.Target.Addr().As16(), Packets: 1, Bytes: 468, Sampling: 1,
			SrcPort: 123, DstPort: 4000, Protocol: traffic.ProtoUDP, TTL: 60,
		}
		s := sample(&r, make([]byte, 60), time.Unix(1700000000, int64(i)))
		s.Exporter = "router\x1b[2J\n203.0.113.1"
		if err := give(s); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// told keeps what a collector delivers.
type told struct {
	mu    sync.Mutex
	found map[string][]Finding
	some  chan string // ids, as they come
}

func newTold() *told { return &told{found: map[string][]Finding{}, some: make(chan string, 1000)} }

func (d *told) deliver(id string, f Finding, tell bool) {
	d.mu.Lock()
	d.found[id] = append(d.found[id], f)
	d.mu.Unlock()
	if tell {
		d.some <- id
	}
}

func victimEvent(i int) *sdk.Event {
	e := attackEvent()
	e.ID, e.Target = fmt.Sprintf("%016x", i), netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)
	return &e
}

// Fifty victims at once: each has its own packets, label, files and report,
// also while one capture gives nothing, one fails, and an inspector hangs.
func TestFiftyVictims(t *testing.T) {
	dir := t.TempDir()
	out := newTold()
	var log bytes.Buffer
	c := NewCollector(Options{
		Packets: 100, Files: &Files{Dir: dir}, Deliver: out.deliver,
		Log: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &sync.Mutex{}}),
		Sources: func() []Source {
			return []Source{
				{"flood", floods},
				{"silent", func(ctx context.Context, _ sdk.SampleRequest, _ func(sdk.Sample) error) error {
					<-ctx.Done()
					return nil
				}},
				{"broken", func(context.Context, sdk.SampleRequest, func(sdk.Sample) error) error {
					return errors.New("no cable\x07")
				}},
			}
		},
		Inspectors: func() []Inspector {
			return []Inspector{
				{"dpi", func(_ context.Context, e sdk.Evidence) ([]sdk.Finding, error) {
					return []sdk.Finding{{Label: "ntp_monlist", Confidence: 0.999, Detail: fmt.Sprint(len(e.Frames))}}, nil
				}},
				{"hangs", func(ctx context.Context, _ sdk.Evidence) ([]sdk.Finding, error) { <-ctx.Done(); return nil, ctx.Err() }},
			}
		},
	})
	const victims = 50
	began := time.Now()
	for i := range victims {
		c.Start(victimEvent(i))
		c.Start(victimEvent(i)) // told twice is collected once
	}
	for range victims {
		<-out.some
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("evidence took %s", took)
	}
	c.Close()
	out.mu.Lock()
	defer out.mu.Unlock()
	for i := range victims {
		e := victimEvent(i)
		if len(out.found[e.ID]) == 0 {
			t.Fatalf("victim %d has no evidence", i)
		}
		f := out.found[e.ID][0]
		r := f.Report
		if f.Label != "ntp_monlist" || !r.Complete || r.Samples != 100 || r.Frames != 100 || len(r.Dump) != 100 || len(r.Findings) != 1 || len(r.Problems) == 0 {
			t.Fatalf("victim %d: %s, %d samples, complete %v, %v, problems %q", i, f.Label, r.Samples, r.Complete, r.Findings, r.Problems)
		}
		for _, s := range r.Dump {
			if p, _ := s.Packet(); p.DstAddr() != e.Target.Addr() {
				t.Fatalf("victim %d has a packet of %v", i, p.DstAddr())
			}
		}
		text, err := os.ReadFile(r.Report)
		if err != nil || !bytes.Contains(text, []byte("Attack traffic dump")) || bytes.ContainsAny(text, "\x1b\x07") {
			t.Fatalf("victim %d: its report: %v\n%q", i, err, text)
		}
		if info, err := os.Stat(r.PCAP); err != nil || info.Size() != 24+100*(16+60) {
			t.Fatalf("victim %d: its capture file: %v, %v", i, info, err)
		}
	}
	if n := strings.Count(log.String(), "gives no samples"); n != 1 {
		t.Errorf("a broken capture is told of %d times", n)
	}
}

// A directory that cannot be written is told, and keeps nothing from coming.
func TestCollectWithoutDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out := newTold()
	c := NewCollector(Options{
		Packets: 10, Files: &Files{Dir: filepath.Join(file, "below")}, Deliver: out.deliver, Log: hclog.NewNullLogger(),
		Sources: func() []Source { return []Source{{"flood", floods}} },
	})
	defer c.Close()
	e := victimEvent(1)
	c.Start(e)
	<-out.some
	f := out.found[e.ID][0]
	if f.Label != "ntp_reflection" || f.Report.PCAP != "" || f.Report.Report != "" || len(f.Report.Problems) != 1 {
		t.Errorf("%s %+v", f.Label, f.Report)
	}
	if f, ok := c.End(e); !ok || len(f.Report.Problems) != 1 {
		t.Errorf("at the attack's end it is not said why there are no files: %v, %q", ok, f.Report.Problems)
	}
}

// Several captures that see one attack stop when there is enough: none of them
// has failed.
func TestEnoughIsNoFailure(t *testing.T) {
	out := newTold()
	c := NewCollector(Options{
		Packets: 100, Deliver: out.deliver, Log: hclog.NewNullLogger(),
		Sources: func() []Source { return []Source{{"a", floods}, {"b", floods}} },
	})
	defer c.Close()
	for i := range 50 {
		c.Start(victimEvent(i))
	}
	for range 50 {
		id := <-out.some
		out.mu.Lock()
		if r := out.found[id][0].Report; len(r.Problems) > 0 {
			t.Errorf("%s: problems %q", id, r.Problems)
		}
		out.mu.Unlock()
	}
}

// However many sources there are, they are told apart.
func TestManySources(t *testing.T) {
	e := victimEvent(1)
	e.Counter, e.Direction = "tcp_syn", "incoming"
	in := &Input{Event: *e}
	for i := range 5000 {
		r := traffic.Record{
			Src: netip.AddrFrom4([4]byte{9, 9, byte(i >> 8), byte(i)}).As16(), Dst: e.Target.Addr().As16(), Packets: 1, Bytes: 60, Sampling: 1,
			SrcPort: uint16(i), DstPort: 80, Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN,
		}
		in.Samples = append(in.Samples, sdk.Sample{Time: e.Time, Record: bytes.Clone(traffic.Bytes([]traffic.Record{r}))})
	}
	if r := Analyse(in).Report; r.SourceEntropy < 0.999 || r.Spoofed != "likely" {
		t.Errorf("entropy %v, forged %s", r.SourceEntropy, r.Spoofed)
	}
}

// An attack that is over before there is enough is told with what there is, by
// its end; its rates are kept by the second.
func TestShortAttack(t *testing.T) {
	out := newTold()
	c := NewCollector(Options{
		Packets: 100, Deliver: out.deliver, Log: hclog.NewNullLogger(),
		Sources: func() []Source {
			return []Source{{"slow", func(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
				req.Limit = 30
				return floods(ctx, req, give)
			}}}
		},
	})
	defer c.Close()
	e := victimEvent(1)
	c.Start(e)
	for second := range 3 {
		now := *e
		now.Time = e.Started.Add(time.Duration(second) * time.Second)
		now.Incoming = []sdk.CounterRate{{Counter: "total", PPS: float64(1000 * second)}}
		c.Rate(&now)
		c.Rate(&now)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		x := c.find(e.ID)
		x.mu.Lock()
		n := len(x.samples)
		x.mu.Unlock()
		if n == 30 {
			break
		}
	}
	f, ok := c.End(e)
	if !ok || f.Report.Samples != 30 || !f.Report.Complete || len(f.Report.Timeline) != 3 || f.Report.Timeline[2].PPS != 2000 {
		t.Errorf("%v %+v", ok, f.Report)
	}
	if _, ok := c.End(victimEvent(2)); ok {
		t.Error("an attack that never started has evidence")
	}
}

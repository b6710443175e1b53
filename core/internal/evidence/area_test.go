package evidence

import (
	"context"
	"net/netip"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// spray gives the packets that a capture has for addresses of a prefix, as fast
// as they are taken, and then none.
func spray(hosts ...string) func(context.Context, sdk.SampleRequest, func(sdk.Sample) error) error {
	return func(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
		var mine []netip.Addr
		for _, h := range hosts {
			if a := netip.MustParseAddr(h); req.Target.Contains(a) {
				mine = append(mine, a)
			}
		}
		if len(mine) == 0 {
			<-ctx.Done()
			return nil
		}
		for i := range req.Limit {
			r := traffic.Record{
				Src: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).As16(), Dst: mine[i%len(mine)].As16(), Packets: 1, Bytes: 100, Sampling: 1,
				SrcPort: 4000, DstPort: 9999, Protocol: traffic.ProtoUDP,
			}
			if err := give(sample(&r, nil, attackEvent().Started)); err != nil {
				return err
			}
		}
		return nil
	}
}

// Of an attack on several prefixes all are sampled, and of a prefix only those
// hosts that the attack is on; the samples are as many as were asked for.
func TestAreas(t *testing.T) {
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		scope string
		area  Area
		hosts []string
		want  map[string]bool
		label string
	}{
		{
			"several prefixes", "hostgroup",
			Area{Prefixes: prefixes("203.0.113.0/26", "203.0.113.64/26", "192.0.2.0/24")},
			[]string{"203.0.113.1", "203.0.113.2", "203.0.113.65", "192.0.2.1", "10.0.0.1"},
			map[string]bool{"203.0.113.1": true, "203.0.113.2": true, "203.0.113.65": true, "192.0.2.1": true},
			labelCarpet,
		},
		{
			"all in one of several", "network",
			Area{Prefixes: prefixes("203.0.113.0/26", "203.0.113.64/26", "192.0.2.0/24", "192.0.3.0/24", "192.0.4.0/24", "192.0.5.0/24")},
			[]string{"203.0.113.65"},
			map[string]bool{"203.0.113.65": true},
			labelUDP,
		},
		{
			"another's hosts", "prefix",
			Area{
				Prefixes: prefixes("203.0.113.0/24"),
				Mine:     func(a netip.Addr) bool { return a.As4()[3] < 4 },
			},
			[]string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.80", "203.0.113.81", "203.0.113.82"},
			map[string]bool{"203.0.113.1": true, "203.0.113.2": true, "203.0.113.3": true},
			labelCarpet,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := newTold()
			col := NewCollector(Options{
				Packets: 100, Deliver: out.deliver, Log: hclog.NewNullLogger(),
				Sources: func() []Source { return []Source{{"spray", spray(c.hosts...)}} },
				Area:    func(*sdk.Event) Area { return c.area },
			})
			defer col.Close()
			e := attackEvent()
			e.Scope, e.Target = c.scope, netip.Prefix{}
			if len(c.area.Prefixes) == 1 {
				e.Target = c.area.Prefixes[0]
			}
			col.Start(&e)
			<-out.some
			out.mu.Lock()
			defer out.mu.Unlock()
			f := out.found[e.ID][0]
			if f.Label != c.label || f.Report == nil || f.Report.Samples != 100 || !f.Report.Complete {
				t.Fatalf("%s, %+v", f.Label, f.Report)
			}
			seen := map[string]bool{}
			for _, s := range f.Report.Dump {
				r, _ := s.Packet()
				seen[r.DstAddr().String()] = true
			}
			if len(seen) != len(c.want) {
				t.Errorf("samples of %v, want %v", seen, c.want)
			}
			for h := range seen {
				if !c.want[h] {
					t.Errorf("a sample of %s", h)
				}
			}
		})
	}
}

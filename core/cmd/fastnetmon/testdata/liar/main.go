// Command liar is plugins whose every name is meant to harm who reads it: by
// its own name, a capture of a flood, or an action that judges evidence.
package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Evil is in all that it says. The test knows the words in it.
const evil = "=cmd|'/C harm'!A0,\"harm\"\r\n\x1b[2J\x1b]0;harm\a\u202eharm\u2028<script>harm</script>'; DROP TABLE harm; --$(harm)`harm`/../../harm\\\xff\xfe%n%s\x00\tharm"

func main() {
	p := sdk.Plugin{Name: "liar", Version: "1"}
	if strings.HasPrefix(filepath.Base(os.Args[0]), "capture") {
		p.Capture = sdk.NewCapture(config{}, func(c config, _ sdk.Env) (*flood, error) { return &flood{c.Target}, nil })
	} else {
		p.Inspector = sdk.NewInspector(struct{}{}, func(struct{}, sdk.Env) (judge, error) { return judge{}, nil })
	}
	sdk.Serve(p)
}

type config struct {
	Target string `hcl:"target"`
}

// flood is 2,000 packets a second to one address.
type flood struct{ target string }

func (f *flood) ExporterName(uint32) string { return evil + strings.Repeat("harm", 1000) }

func (f *flood) Table(context.Context, string) (sdk.Rows, error) {
	return sdk.Rows{Columns: []string{"exporter", "address", "notes", evil}, Rows: [][]string{{evil, evil, evil, evil}}}, nil
}

func (f *flood) Run(ctx context.Context, w *sdk.Writer) error {
	to, from := netip.MustParseAddr(f.target).As16(), netip.MustParseAddr("198.51.100.9").As16()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		batch := w.Reserve(20)
		for i := range batch {
			batch[i] = traffic.Record{
				Src: from, Dst: to, Packets: 1, Bytes: 100, Protocol: traffic.ProtoUDP, SrcPort: 9, DstPort: 99, Sampling: 1,
				Time: time.Now().UnixNano(), Exporter: 1, InIf: 7, OutIf: 8,
			}
		}
		w.Commit(len(batch), nil)
		<-tick.C
	}
	return nil
}

// judge is surer of its label than any rule.
type judge struct{}

func (judge) Inspect(context.Context, sdk.Evidence) ([]sdk.Finding, error) {
	return []sdk.Finding{{Label: evil, Confidence: 1, Detail: evil}}, nil
}

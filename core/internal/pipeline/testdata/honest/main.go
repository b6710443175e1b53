// Command honest is the plugins that go on working while others misbehave, and
// those that misbehave as far as the SDK lets them: by its name, "<kind>-<mode>".
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

func main() {
	kind, mode, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	p := sdk.Plugin{Name: mode, Version: "1"}
	switch kind {
	case "capture":
		p.Capture = sdk.NewCapture(attacks{Rate: 20000}, func(a attacks, _ sdk.Env) (*attacks, error) { a.mode = mode; return &a, nil })
	case "action":
		p.Notifier = sdk.NewNotifier(diary{}, func(d diary, _ sdk.Env) (*diary, error) { d.mode = mode; return &d, nil })
	case "export":
		p.Exporter = sdk.NewExporter(struct{}{}, func(struct{}, sdk.Env) (sink, error) { return sink{mode}, nil })
	case "filter":
		p.Filter = sdk.NewFilter(struct{}{}, func(struct{}, sdk.Env) (judge, error) { return judge{mode}, nil })
	}
	sdk.Serve(p)
}

// attacks is a capture of floods, one wave after the other, each on Targets
// hosts for WaveTime.
type attacks struct {
	Network  string        `hcl:"network"` // a /16
	Waves    int           `hcl:"waves"`
	Targets  int           `hcl:"targets"`
	WaveTime time.Duration `hcl:"wave_time"`
	Rate     int           `hcl:"rate,optional"` // packets per second and host
	mode     string
}

func (a *attacks) Start(context.Context) error {
	if a.mode == "panics" {
		panic("no start today")
	}
	return nil
}

func (a *attacks) Run(ctx context.Context, w *sdk.Writer) error {
	if a.mode == "fails" {
		time.Sleep(200 * time.Millisecond)
		return errors.New("the cable is gone")
	}
	base := netip.MustParseAddr(a.Network).As4()
	each := int(a.WaveTime.Seconds() * float64(a.Rate)) // packets of a wave and host
	begin := time.Now()
	for wave := range a.Waves {
		start := begin.Add(time.Duration(wave) * a.WaveTime)
		for sent := 0; sent < each; {
			due := min(each, int(time.Since(start).Seconds()*float64(a.Rate)))
			for ; sent < due; sent++ {
				for host := range a.Targets {
					n := wave*a.Targets + host
					base[2], base[3] = byte(n>>8), byte(n)
					w.Reserve(1)[0] = traffic.Record{
						Src: netip.AddrFrom4([4]byte{198, 51, 100, 7}).As16(), Dst: netip.AddrFrom4(base).As16(),
						Packets: 1, Bytes: 500, Sampling: 1, Protocol: traffic.ProtoUDP, SrcPort: 53, DstPort: 4000,
					}
					w.Commit(1, nil)
				}
			}
			select {
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// diary is an action that writes down whom it was told of.
type diary struct {
	File string `hcl:"file,optional"`
	mode string
}

func (d *diary) Notify(ctx context.Context, e sdk.Event) error {
	switch d.mode {
	case "hangs":
		select {}
	case "late":
		time.Sleep(300 * time.Millisecond)
	case "panics":
		panic("no notification today")
	case "exits":
		os.Exit(5)
	}
	if d.File == "" {
		return nil
	}
	f, err := os.OpenFile(d.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, e.Type, e.Target.Addr())
	return err
}

// sink is an export.
type sink struct{ mode string }

func (s sink) Export(context.Context, sdk.Snapshot) error {
	if s.mode == "hangs" {
		select {}
	}
	return nil
}

func (s sink) Events(context.Context, []sdk.Event) error {
	switch s.mode {
	case "hangs":
		select {}
	case "panics":
		panic("no events today")
	}
	return nil
}

// judge is a filter.
type judge struct{ mode string }

func (j judge) NewWorker() (sdk.Judge, error) { return j, nil }

func (j judge) Judge([]traffic.Record) error {
	switch j.mode {
	case "hangs":
		select {}
	case "panics":
		panic("no verdict today")
	case "fails":
		return errors.New("cannot judge")
	}
	return nil
}

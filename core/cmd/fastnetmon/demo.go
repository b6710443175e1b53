package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

//go:embed demo/demo.hcl
var demoConfig string

//go:embed demo/notify.sh
var demoScript string

// demoTraffic is half a minute: quiet, an attack, quiet again.
func demoTraffic() *gen.Scenario {
	return &gen.Scenario{
		Seed: 1, Duration: 28 * time.Second, Hosts: 100,
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Benign:   gen.Benign{PPS: 2000, IPv6: 0.2},
		Attacks: []gen.Attack{{
			Kind: gen.SYNFlood, Target: netip.MustParseAddr("203.0.113.7"), Start: 6 * time.Second, Duration: 8 * time.Second, PPS: 25000,
		}},
	}
}

func demoCommand() *cobra.Command {
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show an attack being detected, in under a minute",
		Long: `Demo makes half a minute of traffic with a SYN flood in it, plays it through the real plugins at its own speed, and shows
rates, the attack, what fired, what the script was told, and the end. It sends nothing and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, stopSignals := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			defer stopSignals()
			dir, err := os.MkdirTemp("", "fastnetmon-demo-")
			if err != nil {
				return &exitError{exitFailure, err}
			}
			defer os.RemoveAll(dir)
			cfg, err := demoFiles(dir, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			show := &demoScreen{w: cmd.OutOrStdout()}
			show.printf("Made-up traffic, played at its own speed: 2,000 packets a second to and from 100 hosts of 203.0.113.0/24\n" +
				"and 2001:db8::/64. After 6 seconds a SYN flood of 25,000 packets a second hits 203.0.113.7 for 8 seconds.\n" +
				"Limits for incoming traffic of a host: 5,000 pps in all, 3,000 pps of SYN, 500 Mbit/s.\n\n")
			calls, stop := context.WithCancel(ctx)
			var following sync.WaitGroup
			following.Go(func() { show.follow(calls, filepath.Join(dir, "calls")) })
			daemon := pipeline.New(pipeline.Options{
				Config: cfg, Log: log, Version: version, OnEvent: show.event, OnRates: show.rates, UntilFinished: true,
			})
			diags, err := daemon.Run(ctx)
			stop()
			following.Wait()
			if bad := showDiagnostics(cmd.ErrOrStderr(), diags, cfg.Files); bad != nil {
				return bad
			}
			return show.verdict(ctx, err)
		},
	}
	logs.add(cmd, "error")
	return cmd
}

// demoFiles writes traffic, script and configuration, and loads the last.
func demoFiles(dir string, stderr io.Writer) (*config.Config, error) {
	if _, err := writeCapture(filepath.Join(dir, "traffic.pcap"), demoTraffic()); err != nil {
		return nil, &exitError{exitFailure, err}
	}
	if err := os.WriteFile(filepath.Join(dir, "notify.sh"), []byte(demoScript), 0o700); err != nil { //nolint:gosec // a script has to be executable
		return nil, &exitError{exitFailure, err}
	}
	cfg, diags := config.LoadBytes("demo.hcl", []byte(strings.ReplaceAll(demoConfig, "@DIR@", dir)))
	return cfg, showDiagnostics(stderr, diags, files(cfg))
}

// demoScreen prints what happens, whoever tells it.
type demoScreen struct {
	mu             sync.Mutex
	w              io.Writer
	began          time.Time
	started, ended int
	calls          int
	last           sdk.Event // of the attack, with evidence
}

func (s *demoScreen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format, args...)
}

func (s *demoScreen) event(e sdk.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Type {
	case sdk.AttackStarted:
		s.started++
	case sdk.AttackEnded:
		s.ended++
	}
	if e.Evidence != nil {
		s.last = e
	}
	fmt.Fprintf(s.w, "\n%s\n", eventText(&e))
}

func (s *demoScreen) rates(r sdk.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began = r.Time.Add(-time.Second)
	}
	var pps, bps [2]float64
	for _, t := range r.Totals {
		dir := 0
		switch t.Direction {
		case "outgoing":
			dir = 1
		case "incoming":
		default:
			continue
		}
		pps[dir] += t.Counters[0].PPS
		bps[dir] += t.Counters[0].BPS
	}
	top := ""
	if len(r.Hosts) > 0 {
		top = fmt.Sprintf("busiest %s %s %s pps", r.Hosts[0].Host.Addr(), r.Hosts[0].Direction, count(r.Hosts[0].Counters[0].PPS))
	}
	fmt.Fprintf(s.w, "%3.0f s   in %7s pps %7s bps   out %7s pps %7s bps   %s\n",
		r.Time.Sub(s.began).Seconds(), count(pps[0]), count(bps[0]), count(pps[1]), count(bps[1]), top)
}

// follow prints what the script writes, until ctx is done.
func (s *demoScreen) follow(ctx context.Context, path string) {
	var at int64
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true // one last look
		case <-time.After(50 * time.Millisecond):
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if _, err := f.Seek(at, io.SeekStart); err == nil {
			at += s.copyLines(f)
		}
		f.Close()
	}
}

// copyLines prints whole lines and returns how many bytes they were.
func (s *demoScreen) copyLines(r io.Reader) int64 {
	var n int64
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return n
		}
		n += int64(len(line))
		s.mu.Lock()
		if strings.HasPrefix(line, "called") {
			s.calls++
		}
		fmt.Fprintf(s.w, "  script | %s", line)
		s.mu.Unlock()
	}
}

// verdict says whether the demo showed what it promises.
func (s *demoScreen) verdict(ctx context.Context, err error) error {
	switch {
	case err != nil:
		return &exitError{exitFailure, err}
	case ctx.Err() != nil:
		return &exitError{exitFailure, ctx.Err()}
	case s.started != 1 || s.ended != 1 || s.calls != 3:
		return &exitError{exitFailure, fmt.Errorf("the demo saw %d attacks start and %d end, and %d calls of the script; 1, 1 and 3 were expected", s.started, s.ended, s.calls)}
	}
	if s.last.Evidence == nil {
		return &exitError{exitFailure, errors.New("the demo saw no packets of its attack")}
	}
	var report strings.Builder
	evidence.Summary(&report, &s.last)
	s.printf("\nThe report of the attack. Outside the demo it lies beside a capture file of %d packets, and goes on with each of them:\n\n%s", s.last.Evidence.Frames, report.String())
	s.printf("\nOne attack found, told to the script, and over. Next: \"A first pipeline of your own\" in README.md.\n")
	return nil
}

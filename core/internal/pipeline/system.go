package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
)

// system is what all parts of a running daemon or replay share.
type system struct {
	opt         Options
	log         hclog.Logger
	runtimeDir  string
	runtime     *runtimeDirectory // nil in replay
	names       *idSets
	loop        *loop
	board       board                      // of record rings
	mitigation  *mitigation                // nil in replay
	plan        atomic.Pointer[count.Plan] // that captures get
	tokens      atomic.Uint64
	quarantines atomic.Uint64
}

// troubles lists what is wrong with the daemon itself, a sentence each.
func (s *system) troubles() []string {
	var out []string
	if s.runtime != nil {
		if trouble := s.runtime.wrong(); trouble != "" {
			out = append(out, trouble)
		}
	}
	out = append(out, s.mitigation.troubles()...)
	if s.opt.Troubles != nil {
		out = append(out, s.opt.Troubles()...)
	}
	return out
}

// token names one batch of descriptors; tokens of a connection grow.
func (s *system) token() uint64 { return s.tokens.Add(1) }

// instance keeps a block's process alive.
func (s *system) instance(p *prepared, hooks plugin.Hooks) *plugin.Instance {
	process := p.block.Process
	return plugin.NewInstance(plugin.Config{
		Spec: p.launchSpec(s.runtimeDir, s.log), Hooks: hooks,
		MinBackoff: process.Backoff, MaxBackoff: process.MaxBackoff, CallTimeout: process.StartTimeout,
	})
}

// startAll starts instances together and waits until each has come to
// something.
func startAll(ctx context.Context, instances []*plugin.Instance) {
	var up sync.WaitGroup
	for _, inst := range instances {
		inst.Start()
		up.Go(func() { awaitUp(ctx, inst) })
	}
	up.Wait()
}

// awaitUp returns when an instance runs, has ended or will be tried again.
func awaitUp(ctx context.Context, inst *plugin.Instance) {
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		switch inst.Status().State {
		case plugin.Running, plugin.Unhealthy, plugin.BackingOff, plugin.Draining:
			return
		}
		select {
		case <-inst.Done():
			return
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// refusal is why an instance failed for good, as a diagnostic where the plugin
// gave none.
func refusal(inst *plugin.Instance, p *prepared) hcl.Diagnostics {
	if inst.Status().State != plugin.Failed {
		return nil
	}
	if p.diags.HasErrors() {
		return p.diags
	}
	b := p.block
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: "Plugin failed", Subject: b.Range.Ptr(),
		Detail: fmt.Sprintf("%s %q %q: %s", b.Kind, b.Name, b.Instance, inst.Status().Message),
	}}
}

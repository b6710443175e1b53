package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

const (
	// missed is how many intervals without a word of health are too many.
	missed = 3
	// parts is how many ticks they are counted by. Time in which this process
	// did not run, whatever stopped it, is one or two ticks, however long it
	// was: then the words are there, but nobody has read them yet.
	parts = 4
)

var errSilent = errors.New("no word of health")

// watch stays with a started process until it ends, has finished, fails, is
// silent for too long (an error) or ctx is done (nil).
func (i *Instance) watch(ctx context.Context, p *Process) error {
	i.Fault("")
	i.set(Running, "")
	if i.config.Hooks.Running != nil {
		i.config.Hooks.Running(p)
	}
	since := time.Now()
	defer func() {
		if time.Since(since) >= i.config.HealthyAfter {
			i.back.reset()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	words := make(chan host.Health)
	broken := make(chan error, 1)
	go func() {
		broken <- p.Host().Watch(ctx, i.config.WatchInterval, func(h host.Health) {
			select {
			case words <- h:
			case <-ctx.Done():
			}
		})
	}()
	tick := time.NewTicker(max(i.config.WatchInterval/parts, 1))
	defer tick.Stop()
	return i.listen(ctx, p, words, broken, tick.C)
}

// listen hears words until they end or are missing.
func (i *Instance) listen(ctx context.Context, p *Process, words <-chan host.Health, broken <-chan error, tick <-chan time.Time) error {
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Done():
			return nil // its exit is the reason
		case h := <-words:
			silent = 0
			if err := i.heard(p, h); err != nil {
				return err
			}
		case err := <-broken:
			return i.lost(ctx, p, err)
		case <-tick:
			if silent++; silent <= missed*parts {
				continue
			}
			err := fmt.Errorf("%w for %s", errSilent, missed*i.config.WatchInterval)
			i.set(Unhealthy, err.Error())
			return err
		}
	}
}

// heard takes one word of health.
func (i *Instance) heard(p *Process, h host.Health) error {
	i.mu.Lock()
	i.status.Health = h
	fault := i.fault
	i.mu.Unlock()
	if i.config.Hooks.Health != nil {
		i.config.Hooks.Health(p, h)
	}
	switch {
	case h.State == host.Finished:
		return errFinished
	case h.State == host.Failed:
		return fmt.Errorf("its work failed: %s", h.Message)
	case h.State == host.Unhealthy:
		i.set(Unhealthy, h.Message)
	case fault != "":
		i.set(Unhealthy, fault)
	default:
		i.set(Running, "")
	}
	return nil
}

// Fault says what is wrong with the running process though it says itself that
// it is well; "" that it is mended. With its next word of health the instance is
// unhealthy, or well again.
func (i *Instance) Fault(what string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = what
}

// lost waits a moment when the stream of health has ended: mostly because the
// process has, which says more.
func (i *Instance) lost(ctx context.Context, p *Process, err error) error {
	timer := time.NewTimer(i.config.WatchInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-p.Done():
		return nil
	case <-timer.C:
	}
	if err == nil {
		err = errors.New("the plugin ended it")
	}
	return fmt.Errorf("%w: the stream of health is broken: %w", errSilent, err)
}

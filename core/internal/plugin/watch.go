package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// missed is how many intervals without a word of health are too many.
const missed = 3

var errSilent = errors.New("no word of health")

// watch stays with a started process until it ends, has finished, fails, is
// silent for too long (an error) or ctx is done (nil).
func (i *Instance) watch(ctx context.Context, p *Process) error {
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
	patience := time.NewTimer(missed * i.config.WatchInterval)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Done():
			return nil // its exit is the reason
		case h := <-words:
			patience.Reset(missed * i.config.WatchInterval)
			if err := i.heard(p, h); err != nil {
				return err
			}
		case err := <-broken:
			return i.lost(ctx, p, err)
		case <-patience.C:
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
	i.mu.Unlock()
	if i.config.Hooks.Health != nil {
		i.config.Hooks.Health(p, h)
	}
	switch h.State {
	case host.Finished:
		return errFinished
	case host.Failed:
		return fmt.Errorf("its work failed: %s", h.Message)
	case host.Unhealthy:
		i.set(Unhealthy, h.Message)
	default:
		i.set(Running, "")
	}
	return nil
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

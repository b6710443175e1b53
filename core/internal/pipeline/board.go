package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// giveTime bounds how long a running filter may take over a new set of rings,
// where its block sets no start_timeout: as long as at its launch.
const giveTime = 30 * time.Second

// board is where filters and taps find the record rings of captures. Either
// side may start again, and pipelines may change, at any time: then every
// running user is told the whole set of its rings anew. Captures do not wait for
// that: what becomes of records that no filter judges is for on_failure to say.
type board struct {
	mu      sync.Mutex // never held during a call
	rings   []*wired   // in the order in which they were hung up
	users   []*ringUser
	lastID  uint64
	version uint64 // of the board: one more with each change
}

// wired is a record ring, and who works on it in which place.
type wired struct {
	*ring.RecordRing
	id      uint64
	worker  int
	filters []*ringUser // by stage
	taps    []*ringUser
	replay  bool
}

// ringUser is a filter, or an export that takes raw records.
type ringUser struct {
	*prepared
	sys  *system
	inst *plugin.Instance

	// Of the process that runs, nil when none does; guarded by board.mu.
	told    uint64             // the board's version that it has taken
	changed chan struct{}      // holds a token when there is a newer set to tell
	forget  context.CancelFunc // ends the telling
}

// hang makes rings known to their users.
func (b *board) hang(rings []*wired) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rings {
		b.lastID++
		r.id = b.lastID
	}
	b.rings = append(b.rings, rings...)
	b.tell()
}

// takeDown takes rings away from their users; they may be closed at once.
func (b *board) takeDown(rings []*wired) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rings = slices.DeleteFunc(b.rings, func(r *wired) bool { return slices.Contains(rings, r) })
	b.tell()
}

// tell says that the board has changed. It waits for nobody.
func (b *board) tell() {
	b.version++
	for _, u := range b.users {
		select {
		case u.changed <- struct{}{}:
		default: // it has yet to look
		}
	}
}

// attach tells a new process its rings, and from then on every change.
func (u *ringUser) attach(ctx context.Context, proc *plugin.Process) error {
	changed := make(chan struct{}, 1)
	telling, forget := context.WithCancel(context.Background())
	b := &u.sys.board
	b.mu.Lock()
	u.changed, u.forget, u.told = changed, forget, 0
	b.users = append(slices.DeleteFunc(b.users, func(o *ringUser) bool { return o == u }), u)
	b.mu.Unlock()
	if err := u.give(ctx, proc); err != nil {
		return err
	}
	go u.keepTold(telling, proc, changed)
	return nil
}

func (u *ringUser) gone(*plugin.Process, error) {
	b := &u.sys.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.forget != nil {
		u.forget()
	}
	u.changed, u.forget = nil, nil
	b.users = slices.DeleteFunc(b.users, func(o *ringUser) bool { return o == u })
}

// keepTold hands a running user each newer set of rings. One that does not
// take it is replaced.
func (u *ringUser) keepTold(ctx context.Context, proc *plugin.Process, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, cmp.Or(u.block.Process.StartTimeout, giveTime))
		err := u.give(call, proc)
		cancel()
		switch {
		case ctx.Err() != nil, err != nil && u.leaving(proc):
			return
		case err != nil:
			u.sys.log.Error("a "+u.block.Kind+" did not take its rings: its process is replaced",
				u.block.Kind, u.block.Instance, "plugin", u.block.Name, "pid", proc.PID(), "error", err)
			proc.KillFor(fmt.Errorf("it did not take its rings: %w", err))
			return
		}
	}
}

// leaving tells of a process that is on its way out: it need not take rings.
func (u *ringUser) leaving(proc *plugin.Process) bool {
	select {
	case <-proc.Done():
		return true
	default:
	}
	state := u.inst.Status().State
	return state == plugin.Draining || state.Final()
}

// give hands a user all its rings. Only the newest set may fail: the rings of
// an older one may be closed.
func (u *ringUser) give(ctx context.Context, proc *plugin.Process) error {
	for {
		request, files, version := u.wanted()
		err := send(ctx, proc, request, files)
		b := &u.sys.board
		b.mu.Lock()
		if err == nil {
			u.told = version
		}
		newest := version == b.version
		b.mu.Unlock()
		if err == nil || ctx.Err() != nil || newest {
			return err
		}
	}
}

// awaitTold returns when all running users of rings have taken what was on the
// board when it was called, or after a while.
func (b *board) awaitTold(ctx context.Context, rings []*wired) {
	b.mu.Lock()
	version := b.version
	b.mu.Unlock()
	late := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.users, func(u *ringUser) bool {
			return u.told < version && slices.ContainsFunc(rings, func(r *wired) bool { return slices.Contains(r.filters, u) })
		})
	}
	for end := time.Now().Add(tellTime); late() && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(2 * time.Millisecond)
	}
}

// tellTime is how long a capture that goes on waits for filters to take the
// rings that it will write into.
const tellTime = 2 * time.Second

// wanted is the set of rings that a user is to have now.
func (u *ringUser) wanted() (request host.AttachRequest, files []*os.File, version uint64) {
	b := &u.sys.board
	b.mu.Lock()
	defer b.mu.Unlock()
	request.Token = u.sys.token()
	for _, r := range b.rings {
		of := host.Ring{Kind: host.RecordRing, ID: r.id, Worker: uint32(r.worker), Generation: r.Generation(), Stages: uint32(len(r.filters))}
		if i := slices.Index(r.filters, u); i >= 0 {
			of.Stage, of.OnFailure = uint32(i), u.onFailure(r.replay)
		} else if i := slices.Index(r.taps, u); i >= 0 {
			of.Stage = uint32(i)
		} else {
			continue
		}
		files = append(files, r.File())
		request.Rings = append(request.Rings, of)
	}
	return request, files, b.version
}

// onFailure is what becomes of records that the user does not judge. In replay
// the capture waits for every filter: the same input gives the same output.
func (u *ringUser) onFailure(replay bool) uint32 {
	switch {
	case replay || u.block.Process.OnFailure == "stop":
		return host.OnFailureStop
	case u.block.Process.OnFailure == "drop":
		return host.OnFailureDrop
	}
	return host.OnFailureBypass
}

func send(ctx context.Context, proc *plugin.Process, request host.AttachRequest, files []*os.File) error {
	if len(files) > 0 {
		if err := ring.SendFiles(proc.Rings(), request.Token, files); err != nil {
			return err
		}
	}
	return proc.Host().AttachRings(ctx, request)
}

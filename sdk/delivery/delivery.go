// Package delivery is what exporters to a store have in common: a store that is
// down, slow, full or refuses holds nobody up. Snapshots wait in memory, the
// oldest go where there are too many; events wait in a spool on disk until the
// store has them. A Queue is most of an sdk.Exporter: a plugin embeds it and
// writes a Store.
package delivery

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/spool"
)

// Store is where an exporter writes. One goroutine calls it, and not before
// the plugin is started. An error asks for another try, with growing pauses and
// without end; one made with Refused for none.
type Store interface {
	// Connect opens what is to be opened; it is called before the first write
	// and before the next one after an error. What is open is opened anew.
	Connect(ctx context.Context) error
	// Snapshot writes a snapshot.
	Snapshot(ctx context.Context, s *sdk.Snapshot) error
	// Events writes events, in order.
	Events(ctx context.Context, b Batch) error
	// Close gives up what is open. It is called once, at the end.
	Close() error
}

// Batch is some events, oldest first.
type Batch struct {
	Events  []sdk.Event
	Numbers []uint64 // of each event, growing as long as the block's state directory lasts
	// Again says that some may be in the store already: an earlier try failed,
	// or the process has ended since. A store that can tell by Event.ID and Seq,
	// or by the number, should.
	Again bool
}

// Refused marks an error that another try would not mend: the store does not
// take what it was given. What it was is dropped and counted.
func Refused(err error) error {
	if err == nil {
		return nil
	}
	return &refused{err}
}

// IsRefused tells whether an error is marked so.
func IsRefused(err error) bool {
	var no *refused
	return errors.As(err, &no)
}

type refused struct{ err error }

func (e *refused) Error() string { return e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

// Config is the block delivery {} that every exporter with a Queue takes:
//
//	Delivery delivery.Config `hcl:"delivery,block,optional"`
type Config struct {
	Snapshots  int           `hcl:"snapshots,optional" doc:"how many wait at most while the store is away; 60 unless set"`
	Spool      sdk.Size      `hcl:"spool,optional" doc:"how much room events take at most while the store is away; 64MiB unless set"`
	Timeout    time.Duration `hcl:"timeout,optional" doc:"of one write; 10s unless set"`
	MinBackoff time.Duration `hcl:"backoff,optional" doc:"between a write that failed and the next try, at first; 500ms unless set"`
	MaxBackoff time.Duration `hcl:"max_backoff,optional" doc:"between two tries at most; 30s unless set"`
}

// Defaults are the values of a block that is not there.
func Defaults() Config {
	return Config{Snapshots: 60, Spool: spool.DefaultSize, Timeout: 10 * time.Second, MinBackoff: 500 * time.Millisecond, MaxBackoff: 30 * time.Second}
}

// SetDefaults fills in what a block leaves out.
func (c *Config) SetDefaults() { *c = Defaults() }

// Check complains of values that make no sense; at is the block's path.
func (c *Config) Check(at diag.Path) diag.Diagnostics {
	var ds diag.Diagnostics
	fail := func(attr, detail string, args ...any) {
		ds = append(ds, diag.Errorf(at.Attr(attr), "Value out of range", detail, args...))
	}
	if c.Snapshots < 1 || c.Snapshots > 10_000 {
		fail("snapshots", "%d is not between 1 and 10000.", c.Snapshots)
	}
	if c.Spool < 1<<20 || c.Spool > 1<<36 {
		fail("spool", "%d bytes are not between 1MiB and 64GiB.", uint64(c.Spool))
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		fail("timeout", "%s is not between 100ms and 5m.", c.Timeout)
	}
	if c.MinBackoff < 10*time.Millisecond || c.MaxBackoff < c.MinBackoff || c.MaxBackoff > time.Hour {
		fail("max_backoff", "The pauses between two tries grow from backoff, %s, 10ms or more, to max_backoff, %s, at most 1h.", c.MinBackoff, c.MaxBackoff)
	}
	return ds
}

// batchEvents and batchBytes bound a batch of events.
const (
	batchEvents = 200
	batchBytes  = 1 << 20
)

// Queue takes what the core hands over and brings it to a store. Embedded in
// a plugin's type, it is its Exporter, Starter, Closer, Health and Metrics. The
// plugin sets KeepsState: without a state directory events wait in memory.
type Queue struct {
	store Store
	conf  Config
	env   sdk.Env
	say   *teller

	spool     *spool.Spool // from Start
	mu        sync.Mutex   // guards the snapshots
	snapshots []*sdk.Snapshot
	wake      chan struct{}
	stop      context.CancelFunc
	cut       context.CancelFunc
	done      chan struct{}

	events, rates *lane
	connected     bool
}

// New makes a queue before a store. It opens nothing.
func New(store Store, c Config, env sdk.Env) *Queue {
	if c == (Config{}) {
		c = Defaults()
	}
	q := &Queue{store: store, conf: c, env: env, say: newTeller(env.Logger), wake: make(chan struct{}, 1)}
	q.events, q.rates = newLane("events", &q.conf), newLane("snapshots", &q.conf)
	return q
}

// Start opens the spool and begins to deliver. A store that is not there is no
// reason not to start.
func (q *Queue) Start(context.Context) error {
	if q.env.Logger == nil {
		q.env.Logger = hclog.NewNullLogger()
	}
	dir := ""
	if q.env.StateDir != "" {
		dir = filepath.Join(q.env.StateDir, "spool")
	}
	var err error
	if q.spool, err = spool.Open(spool.Options{Dir: dir, Size: int64(q.conf.Spool)}); err != nil {
		q.env.Logger.Error("events wait in memory only, and are lost when this program ends: the spool cannot be opened", "directory", dir, "error", err)
		if q.spool, err = spool.Open(spool.Options{Size: int64(q.conf.Spool)}); err != nil {
			return err
		}
	}
	if st := q.spool.Stats(); st.Waiting > 0 {
		q.env.Logger.Info("events of an earlier run wait to be delivered", "events", st.Waiting)
	}
	ending, stop := context.WithCancel(context.Background())
	writes, cut := context.WithCancel(context.Background())
	q.stop, q.cut, q.done = stop, cut, make(chan struct{})
	go q.run(ending, writes)
	return nil
}

// Export takes a snapshot; the oldest one goes where too many wait.
func (q *Queue) Export(_ context.Context, s sdk.Snapshot) error {
	q.mu.Lock()
	q.snapshots = append(q.snapshots, &s)
	for len(q.snapshots) > q.conf.Snapshots {
		q.snapshots[0] = nil
		q.snapshots = q.snapshots[1:]
		q.rates.full.Add(1)
	}
	q.mu.Unlock()
	q.nudge()
	return nil
}

// Events takes events. They are in the spool when it returns.
func (q *Queue) Events(_ context.Context, events []sdk.Event) error {
	for i := range events {
		data, err := encode(&events[i])
		if err != nil {
			q.events.refused.Add(1)
			q.say.failure(q.events.name, fmt.Errorf("an event cannot be written down: %w", err))
			continue
		}
		q.spool.Append(keyOf(&events[i]), data)
	}
	if err := q.spool.Stats().Err; err != nil {
		q.say.failure("spool", fmt.Errorf("events wait in memory, since the spool takes no more: %w", err))
	}
	q.nudge()
	return nil
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// closeTime is how long the last writes may take.
const closeTime = time.Second

// Close makes a last try to deliver what waits; events that are left stay in
// the spool.
func (q *Queue) Close(ctx context.Context) error {
	q.stop()
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	q.cut()
	<-q.done
	return errors.Join(q.store.Close(), q.spool.Close())
}

// encode keeps every field of an event, which its JSON form for people does
// not, and reads what an earlier version wrote.
func encode(e *sdk.Event) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(e)
	return b.Bytes(), err
}

func decode(b []byte) (e sdk.Event, err error) {
	err = gob.NewDecoder(bytes.NewReader(b)).Decode(&e)
	return e, err
}

// keyOf is the event's key for the spool; never 0.
func keyOf(e *sdk.Event) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(e.Key())) // it never fails
	return h.Sum64() | 1
}

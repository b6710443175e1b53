package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// Forward is a plugin's block that passes every datagram on, as it came:
//
//	forward "archive" {
//	  target      = "192.0.2.10:9995"
//	  keep_source = true
//	}
//
// A plugin's configuration has
//
//	Forward []udp.Forward `hcl:"forward,block"`
//
// By default datagrams leave with this machine's address. With keep_source
// they seem to come from the exporter itself; this needs Linux and
// CAP_NET_RAW (process { capabilities = ["CAP_NET_RAW"] }), the same address
// family at both ends, and a network that does not drop foreign sources. With
// add_source each is preceded by a header of the PROXY protocol, version 2,
// that names the exporter: 28 octets for IPv4, 52 for IPv6.
//
// All datagrams go to a target, those of unknown senders too, unless it
// selects: with exporters only what these send, with except_exporters what all
// others send. Both name exporters that the plugin's own exporters attribute
// names, and leave it to the plugin to tell who has sent a datagram
// (Datagram.Exporter). Of what is selected one_in passes on every so manieth.
type Forward struct {
	Name       string         `hcl:"name,label"`
	Target     netip.AddrPort `hcl:"target" doc:"address and port that the datagrams go to"`
	KeepSource bool           `hcl:"keep_source,optional" doc:"send with the exporter's own address and port as source; needs CAP_NET_RAW"`
	AddSource  bool           `hcl:"add_source,optional" doc:"put a PROXY protocol header (version 2) in front that names the exporter"`
	Queue      sdk.Size       `hcl:"queue,optional" doc:"octets that may wait for this target; 4MiB unless set"`
	Only       []Exporter     `hcl:"exporters,optional" doc:"exporters whose datagrams go there; all unless set"`
	Except     []Exporter     `hcl:"except_exporters,optional" doc:"exporters whose datagrams do not go there"`
	OneIn      int            `hcl:"one_in,optional" doc:"pass on one datagram in so many; 1 unless set"`
}

// Exporter is an `exporter "name" {}` block that a target selects.
type Exporter struct {
	Name string `hcl:"name"`
}

// Bounds of a target's queue, in octets.
const (
	DefaultQueue = 4 << 20
	minQueue     = 256 << 10 // some datagrams of any size
	maxQueue     = 1 << 30
)

const maxOneIn = 1 << 20

// CheckForward checks what the schema cannot; for a plugin's Validate.
// exporters are the names of those that the plugin listens to, in order. The
// paths begin at the block "forward".
func CheckForward(blocks []Forward, exporters []string) diag.Diagnostics {
	var ds diag.Diagnostics
	seen := map[string]bool{}
	for i, b := range blocks {
		at := diag.Path{}.Attr("forward").Index(i)
		if seen[b.Name] {
			ds = append(ds, diag.Errorf(at, "Duplicate block", "There is a forward %q already. Give each its own name: losses are counted by it.", b.Name))
		}
		seen[b.Name] = true
		if b.Target.Port() == 0 || b.Target.Addr().IsUnspecified() {
			ds = append(ds, diag.Errorf(at.Attr("target"), "Invalid target", "%s is nowhere to send to: write an address and a port, such as 192.0.2.10:9995.", b.Target))
		}
		if b.KeepSource && b.AddSource {
			ds = append(ds, diag.Errorf(at.Attr("add_source"), "Contradiction", "With keep_source the source is kept already. Remove one of keep_source and add_source."))
		}
		if b.Queue != 0 && (b.Queue < minQueue || b.Queue > maxQueue) {
			ds = append(ds, diag.Errorf(at.Attr("queue"), "Queue out of range", "%s is not from 256KiB to 1GiB.", b.Queue))
		}
		if b.OneIn < 0 || b.OneIn > maxOneIn {
			ds = append(ds, diag.Errorf(at.Attr("one_in"), "Number out of range", "%d is not from 1 to %d: one datagram in so many is passed on.", b.OneIn, maxOneIn))
		}
		ds = append(ds, b.checkSelection(at, exporters)...)
	}
	return ds
}

// checkSelection checks which exporters a target selects.
func (b *Forward) checkSelection(at diag.Path, exporters []string) (ds diag.Diagnostics) {
	if len(b.Only) > 0 && len(b.Except) > 0 {
		ds = append(ds, diag.Errorf(at.Attr("except_exporters"), "Contradiction", "With exporters all others are left out already. Remove one of exporters and except_exporters."))
	}
	known := func(name string, list []Exporter) {
		for i, e := range list {
			if !slices.Contains(exporters, e.Name) {
				ds = append(ds, diag.Errorf(at.Attr(name).Index(i), "Exporter not listened to",
					"exporter.%s is not among the exporters of this capture, so nothing tells which datagrams are its. Name it there too: exporters = [exporter.%s].", e.Name, e.Name))
			}
		}
	}
	known("exporters", b.Only)
	known("except_exporters", b.Except)
	return ds
}

// Forwarder passes datagrams on to targets, each with its own bounded queue
// and sender: a slow or dead target loses datagrams, which are counted, and
// holds nobody up. A nil Forwarder forwards nothing.
type Forwarder struct {
	targets []*target
	running sync.WaitGroup
}

// target is one block at work.
type target struct {
	Forward
	queue  *queue
	wanted []bool        // by Datagram.Exporter; nil: all are
	turn   atomic.Uint64 // datagrams selected, for one in so many
	log    hclog.Logger
	logged time.Time
	quiet  uint64 // failures since then
	sent   atomic.Uint64
	lost   atomic.Uint64
	failed atomic.Uint64
	missed atomic.Int64 // when one of these grew last, after began
	sender
}

// NewForwarder opens the targets and begins to send; nil for no blocks. Call
// it from Start. exporters are the names of those that the plugin listens to:
// number i of them is Datagram.Exporter i+1. An error names the block and what
// to do.
func NewForwarder(blocks []Forward, exporters []string, log hclog.Logger) (*Forwarder, error) {
	if len(blocks) == 0 {
		return nil, nil
	}
	if err := CheckForward(blocks, exporters).Err(); err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	f := &Forwarder{}
	for _, b := range blocks {
		b.Target = netip.AddrPortFrom(b.Target.Addr().Unmap(), b.Target.Port())
		if b.Queue == 0 {
			b.Queue = DefaultQueue
		}
		t := &target{Forward: b, queue: newQueue(int(b.Queue)), wanted: b.selection(exporters), log: log}
		if err := t.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("forward %q to %s: %w", b.Name, b.Target, err), f.Close())
		}
		f.targets = append(f.targets, t)
		f.running.Go(t.run)
	}
	return f, nil
}

// selection says whose datagrams a target wants, by Datagram.Exporter; nil if
// everybody's.
func (b *Forward) selection(exporters []string) []bool {
	if len(b.Only) == 0 && len(b.Except) == 0 {
		return nil
	}
	wanted := make([]bool, 1+len(exporters))
	for i := range wanted {
		wanted[i] = len(b.Except) > 0
	}
	for _, e := range append(slices.Clone(b.Only), b.Except...) {
		wanted[1+slices.Index(exporters, e.Name)] = len(b.Only) > 0
	}
	return wanted
}

// Forward queues a batch for all targets that want it. It copies what it needs
// and never waits. Several goroutines may call it.
func (f *Forwarder) Forward(batch []Datagram) {
	if f == nil {
		return
	}
	for _, t := range f.targets {
		if t.wanted == nil && t.OneIn <= 1 {
			t.put(batch)
			continue
		}
		from := 0 // of a run of datagrams that the target wants
		for i := range batch {
			if !t.wants(&batch[i]) {
				t.put(batch[from:i])
				from = i + 1
			}
		}
		t.put(batch[from:])
	}
}

// wants reports whether a datagram is to go to the target.
func (t *target) wants(d *Datagram) bool {
	if t.wanted != nil && (d.Exporter >= len(t.wanted) || !t.wanted[d.Exporter]) {
		return false
	}
	return t.OneIn <= 1 || t.turn.Add(1)%uint64(t.OneIn) == 1
}

// put queues datagrams.
func (t *target) put(batch []Datagram) {
	if len(batch) == 0 {
		return
	}
	if n := t.queue.put(batch); n < len(batch) {
		t.lost.Add(uint64(len(batch) - n))
		t.missed.Store(int64(time.Since(began)))
	}
}

// ForwardStats is what became of the datagrams for one target.
type ForwardStats struct {
	Name    string
	Target  netip.AddrPort
	Sent    uint64 // handed to the network
	Dropped uint64 // found the queue full: the target or the way to it is too slow
	Failed  uint64 // could not be sent, or nobody listens there
	// Ago is how long ago the last one was dropped or failed; 0 if none was.
	Ago time.Duration
}

// Stats returns the counts of all targets, in the order of the blocks.
func (f *Forwarder) Stats() []ForwardStats {
	if f == nil {
		return nil
	}
	var out []ForwardStats
	for _, t := range f.targets {
		x := ForwardStats{Name: t.Name, Target: t.Target, Sent: t.sent.Load(), Dropped: t.lost.Load(), Failed: t.failed.Load()}
		if x.Dropped+x.Failed > 0 {
			x.Ago = max(1, time.Since(began)-time.Duration(t.missed.Load()))
		}
		out = append(out, x)
	}
	return out
}

// Rows is the table "forward".
func (f *Forwarder) Rows() sdk.Rows {
	rows := sdk.Rows{Columns: []string{"forward", "target", "sent", "dropped", "failed"}}
	for _, s := range f.Stats() {
		rows.Rows = append(rows.Rows, []string{
			s.Name, s.Target.String(),
			strconv.FormatUint(s.Sent, 10), strconv.FormatUint(s.Dropped, 10), strconv.FormatUint(s.Failed, 10),
		})
	}
	return rows
}

// drainTime is how long Close goes on sending what is queued.
const drainTime = time.Second

// Close sends what is queued, for at most a second, and closes the targets.
func (f *Forwarder) Close() error {
	if f == nil {
		return nil
	}
	for _, t := range f.targets {
		t.queue.close()
		t.hurry(time.Now().Add(drainTime))
	}
	f.running.Wait()
	return nil
}

// run sends until the queue is closed and empty.
func (t *target) run() {
	defer t.shut()
	for {
		batch := t.queue.take(sendBatch)
		if batch == nil {
			return
		}
		more := t.send(batch)
		t.queue.release(batch)
		if !more {
			t.lost.Add(uint64(t.queue.discard()))
			return
		}
	}
}

// fail counts a datagram that could not be sent; a line a minute tells.
func (t *target) fail(err error) {
	t.failed.Add(1)
	t.missed.Store(int64(time.Since(began)))
	t.quiet++
	if now := time.Now(); now.Sub(t.logged) >= time.Minute {
		t.log.Warn("datagrams cannot be forwarded", "forward", t.Name, "target", t.Target.String(), "datagrams", t.quiet, "error", err)
		t.logged, t.quiet = now, 0
	}
}

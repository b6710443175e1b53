package pipeline

import (
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
)

// Looks at an input are a second apart. They are counted, not timed: while this
// program itself is stopped there are none, however long that is.
const (
	// silentLooks without a flush are too many: a capture that works flushes
	// every 50 ms, and where there is nothing to tell it tells just that.
	silentLooks = 3
	// hungLooks is when the process of such a capture is replaced.
	hungLooks = 10
	// quietLooks without a record are told of, where there were records before.
	quietLooks = 60
)

// silence is how long a capture has brought nothing; the loop's goroutine owns
// it.
type silence struct {
	flushes int // looks since the worker that has been silent longest flushed
	records int // looks since any worker received a record
}

// seen is what an input had brought by the latest look.
type seen struct {
	windowEnd int64
	received  uint64
	silent    int // looks at which its newest flush was the same
}

// watchInputs looks at what the captures bring, once a second. The process of a
// capture may be well and yet hand on nothing: its Run may hold what flushing
// needs, or it is no good at all. The loop's goroutine calls it.
func (d *Daemon) watchInputs() {
	for _, c := range d.set.captures {
		before := c.silence
		if state := c.inst.Status().State; state != plugin.Running && state != plugin.Unhealthy {
			c.silence.flushes = 0 // what is wrong with it is told otherwise
			continue
		}
		c.look()
		switch now := c.silence; {
		case now.flushes >= silentLooks:
			c.tellSilent()
		case before.flushes >= silentLooks:
			c.inst.Fault("")
			c.sys.log.Info("a capture hands on counts again", "capture", c.block.Instance, "plugin", c.block.Name, "was_silent_for", lasting(before.flushes))
		}
		switch now := c.silence; {
		case now.records == quietLooks && before.records < quietLooks && c.hadRecords():
			c.sys.log.Warn("a capture receives nothing any more: it works, but no traffic reaches it", "capture", c.block.Instance, "plugin", c.block.Name, "for", lasting(now.records))
		case now.records == 0 && before.records >= quietLooks:
			c.sys.log.Info("a capture receives traffic again", "capture", c.block.Instance, "plugin", c.block.Name, "after", lasting(before.records))
		}
	}
}

// look compares what the inputs of a running capture have brought with what
// they had at the look before.
func (c *capture) look() {
	flushes, quiet := 0, true
	for _, in := range c.sys.loop.inputs {
		if in.capture != c {
			continue
		}
		l, ok := c.sys.loop.engine.Ledger(in.id)
		if !ok || l.Finished {
			continue
		}
		if in.brought.silent++; l.WindowEnd != in.brought.windowEnd {
			in.brought.silent = 0
		}
		quiet = quiet && l.Received == in.brought.received
		flushes = max(flushes, in.brought.silent)
		in.brought.windowEnd, in.brought.received = l.WindowEnd, l.Received
	}
	c.silence.flushes = flushes
	if c.silence.records++; !quiet {
		c.silence.records = 0
	}
}

// tellSilent makes it visible that a running capture hands on nothing, and
// has its process replaced when that lasts.
func (c *capture) tellSilent() {
	n := c.silence.flushes
	c.inst.Fault("it hands on nothing, not even that there is nothing")
	proc := c.process.Load()
	if proc == nil {
		return
	}
	fields := []any{"capture", c.block.Instance, "plugin", c.block.Name, "pid", proc.PID(), "for", lasting(n)}
	switch n {
	case silentLooks:
		c.sys.log.Warn("a capture hands on nothing, though its process says that it is well: what it receives is not seen", fields...)
	case hungLooks:
		c.sys.log.Error("a capture still hands on nothing: its process is replaced", fields...)
		go proc.KillFor(fmt.Errorf("it handed on nothing for %s", lasting(n)))
	}
}

// hadRecords tells whether anything has ever come in.
func (c *capture) hadRecords() bool {
	if c.account.received > 0 {
		return true
	}
	for _, in := range c.sys.loop.inputs {
		if in.capture == c && in.brought.received > 0 {
			return true
		}
	}
	return false
}

func lasting(looks int) time.Duration { return time.Duration(looks) * time.Second }

// quietFor is how long a running capture has received nothing, if that is long
// enough to speak of. The loop's goroutine calls it.
func (c *capture) quietFor() time.Duration {
	if c.silence.records < silentLooks || c.silence.flushes >= silentLooks {
		return 0
	}
	return lasting(c.silence.records)
}

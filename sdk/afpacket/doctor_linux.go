package afpacket

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// lately is how long ago a loss is a warning.
const lately = 10 * time.Minute

// checkup collects the rows of the table "doctor".
type checkup struct{ rows [][]string }

func (d *checkup) say(check, state, format string, args ...any) {
	d.rows = append(d.rows, []string{check, state, fmt.Sprintf(format, args...)})
}

// Table answers for a plugin (sdk.Table): "doctor", with a row for each thing
// and interface.
func (c *Capture) Table(name string) (sdk.Rows, error) {
	if name != exporter.TableDoctor {
		return sdk.Rows{}, nil // of devices that send to us there are none
	}
	d := &checkup{}
	for _, p := range c.ports {
		c.look(d, p)
	}
	return sdk.Rows{Columns: []string{"check", "state", "detail"}, Rows: d.rows}, nil
}

// look says all of one interface. Its name is part of the checks' where there
// are several.
func (c *Capture) look(d *checkup, p *port) {
	check := func(name string) string {
		if len(c.ports) == 1 {
			return name
		}
		return name + " " + p.name
	}
	if err := p.fault(); err != nil {
		var gone *errGone
		if errors.As(err, &gone) {
			d.say(check("interface"), exporter.StateFault, "%v; the capture goes on when it is there", err)
		} else {
			d.say(check("interface"), exporter.StateFault, "%v", err)
		}
		return
	}
	if n := p.rings(); n < c.o.Workers {
		d.say(check("interface"), exporter.StateWarn, "%s is being opened: %d of %d rings are there", p.name, n, c.o.Workers)
		return
	}
	info, err := inspect(p.name)
	if err != nil {
		d.say(check("interface"), exporter.StateFault, "%s does not answer: %v", p.name, err)
		return
	}
	t := c.sum(p)
	if info.flags&runningFlag == 0 {
		d.say(check("interface"), exporter.StateFault, "%s is up, but has no carrier: is the cable in, and is the other end up?", p.name)
	} else {
		d.say(check("interface"), exporter.StateOK, "%s is up; %d frames have come", p.name, t.packets)
	}
	c.promiscuous(d, check("promiscuous"), p)
	offload(d, check("offload"), &info, &t)
	drops(d, check("drops"), &t)
	c.ring(d, check("ring"), &t)
	c.card(d, check("card"), p, &info)
	c.sampled(d, check("sampling"), &t)
}

const runningFlag = 0x40 // IFF_RUNNING

// sums is what all workers of an interface have done.
type sums struct {
	packets, drops, supers, segments, skipped uint64
	every                                     uint32
	overload                                  time.Time
	ring                                      int64
}

func (c *Capture) sum(p *port) (t sums) {
	for _, k := range c.workers {
		if k.port != p {
			continue
		}
		t.packets += k.tally.packets.Load()
		t.drops += k.tally.drops.Load()
		t.supers += k.tally.supers.Load()
		t.segments += k.tally.segments.Load()
		t.skipped += k.tally.skipped.Load()
		t.every = max(t.every, k.tally.every.Load())
		t.ring += k.tally.ring.Load()
		if at := k.tally.overload.Load(); at > 0 && time.Unix(0, at).After(t.overload) {
			t.overload = time.Unix(0, at)
		}
	}
	return t
}

func (c *Capture) promiscuous(d *checkup, check string, p *port) {
	if c.o.Promiscuous {
		d.say(check, exporter.StateOK, "%s takes frames for any address", p.name)
		return
	}
	d.say(check, exporter.StateOK, "%s takes frames for this machine only (promiscuous = false): of a mirror port nothing would come", p.name)
}

func offload(d *checkup, check string, info *linkInfo, t *sums) {
	var on []string
	for _, x := range []struct {
		on   bool
		name string
	}{{info.gro, "GRO"}, {info.lro, "LRO"}, {info.tso, "TSO"}, {info.gso, "GSO"}} {
		if x.on {
			on = append(on, x.name)
		}
	}
	switch {
	case len(on) == 0:
		d.say(check, exporter.StateOK, "frames come as they were on the wire")
	case info.lro:
		d.say(check, exporter.StateWarn, "LRO is on: segments that it joins are counted, but not all cards say how many there were; turn it off with \"ethtool -K … lro off\"")
	default:
		d.say(check, exporter.StateOK, "%s on: %d frames stood for %d segments, which is what counts", strings.Join(on, ", "), t.supers, t.segments)
	}
}

func drops(d *checkup, check string, t *sums) {
	switch {
	case t.drops == 0:
		d.say(check, exporter.StateOK, "the kernel has dropped none of %d frames", t.packets)
	case time.Since(t.overload) > lately:
		d.say(check, exporter.StateOK, "the kernel has dropped %d frames beside %d that came, the last one %s ago", t.drops, t.packets, time.Since(t.overload).Round(time.Minute))
	default:
		d.say(check, exporter.StateWarn, "the kernel has dropped %d frames beside %d that came, because the ring was full: raise workers or ring_size, lower snap_length, or set overload = \"sample\"", t.drops, t.packets)
	}
}

func (c *Capture) ring(d *checkup, check string, t *sums) {
	if want := int64(max(2, c.o.RingSize/blockSize)) * blockSize * int64(c.o.Workers); t.ring > 0 && t.ring < want {
		d.say(check, exporter.StateWarn, "the kernel had memory for rings of %d MiB only, of %d that were asked for", t.ring>>20, want>>20)
		return
	}
	d.say(check, exporter.StateOK, "%d MiB in %d rings, each with a thread of its own; frames are spread by %v", t.ring>>20, c.o.Workers, c.o.Fanout)
}

// card says what the network card has.
func (c *Capture) card(d *checkup, check string, p *port, info *linkInfo) {
	switch {
	case info.missed > 0:
		d.say(check, exporter.StateWarn, "the card of %s has dropped %d frames before anyone saw them, since it was set up: enlarge its rings with \"ethtool -G %s rx %d\"", p.name, info.missed, p.name, max(info.maxRings, info.rings))
	case info.rings > 0 && info.rings < info.maxRings:
		d.say(check, exporter.StateOK, "%d receive queues; its rings have %d of at most %d places", info.queues, info.rings, info.maxRings)
	case info.queues > 0:
		d.say(check, exporter.StateOK, "%d receive queues, %d workers", info.queues, c.o.Workers)
	}
}

func (c *Capture) sampled(d *checkup, check string, t *sums) {
	switch {
	case t.every > 1:
		d.say(check, exporter.StateWarn, "for want of time one frame in %d is taken now, scaled: raise workers", t.every)
	case t.skipped > 0 && time.Since(t.overload) < lately:
		d.say(check, exporter.StateWarn, "for want of time %d frames were skipped lately, and those taken scaled: raise workers", t.skipped)
	case c.o.Sampling > 1 || c.o.Mirrored > 1:
		d.say(check, exporter.StateOK, "one frame in %d is taken, and each stands for %d that were mirrored", c.o.Sampling, c.o.Mirrored)
	}
}

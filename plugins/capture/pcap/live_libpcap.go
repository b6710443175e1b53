//go:build libpcap && cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/afpacket"
	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// liveName says how frames are taken.
var liveName = pcap.Version()

const (
	reopenEvery = 250 * time.Millisecond
	statsEvery  = 50 * time.Millisecond
	liveBatch   = 512
	anyDevice   = "any"
)

// library takes frames through libpcap.
type library struct {
	c *capture

	mu  sync.Mutex
	err error // why nothing comes

	packets, drops atomic.Uint64
	lost           atomic.Int64 // when frames were dropped last, Unix nanoseconds
}

func newLive(c *capture) live { return &library{c: c} }

func (l *library) causes() []string { return fileCauses() }

func (l *library) sample(ctx context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	return l.c.sampleRecent(ctx, req, give)
}

func (l *library) health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// trouble notes why nothing comes, nil when something may.
func (l *library) trouble(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && (l.err == nil || l.err.Error() != err.Error()):
		l.c.log.Warn("the interface cannot be captured; it is tried again", "interface", l.c.cfg.Interface, "error", err)
	case err == nil && l.err != nil:
		l.c.log.Info("the interface is captured again", "interface", l.c.cfg.Interface)
	}
	l.err = err
}

// run takes frames until ctx is done, and waits for the interface while it is
// not there.
func (l *library) run(ctx context.Context, w *sdk.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := l.c.newPlayer(w)
	for ctx.Err() == nil {
		h, err := l.open()
		l.trouble(err)
		if err == nil {
			err = l.take(ctx, h, p)
			l.trouble(err)
			h.Close()
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(reopenEvery):
			}
		}
	}
	return ctx.Err()
}

// open opens the interface.
func (l *library) open() (*pcap.Handle, error) {
	cfg := &l.c.cfg
	if err := missing(cfg.Interface); err != nil {
		return nil, err
	}
	in, err := pcap.NewInactiveHandle(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("libpcap, interface %s: %w", cfg.Interface, err)
	}
	defer in.CleanUp()
	set := func(what string, err error) error {
		if err != nil {
			return fmt.Errorf("libpcap, interface %s: %s: %w", cfg.Interface, what, err)
		}
		return nil
	}
	err = errors.Join(
		set("snap_length", in.SetSnapLen(cfg.SnapLength)), set("promiscuous", in.SetPromisc(cfg.Promiscuous)),
		set("delay", in.SetTimeout(cfg.Delay)), set("buffer", in.SetBufferSize(int(cfg.Buffer))),
	)
	if cfg.Timestamps != "" && err == nil {
		source, bad := pcap.TimestampSourceFromString(cfg.Timestamps)
		if bad == nil {
			bad = in.SetTimestampSource(source)
		}
		err = set("timestamps", bad)
	}
	if err != nil {
		return nil, err
	}
	h, err := in.Activate()
	if err != nil {
		return nil, set("opening it", err)
	}
	if cfg.Filter != "" {
		err = set("filter", h.SetBPFFilter(cfg.Filter))
	}
	if direction, _ := afpacket.ParseDirection(cfg.Direction); err == nil && direction != afpacket.Both {
		err = set("direction", h.SetDirection(map[afpacket.Direction]pcap.Direction{afpacket.Receive: pcap.DirectionIn, afpacket.Transmit: pcap.DirectionOut}[direction]))
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// take takes frames of an open interface until ctx is done or it fails.
func (l *library) take(ctx context.Context, h *pcap.Handle, p *player) error {
	link := traffic.LinkType(h.LinkType())
	if h.LinkType() == layers.LinkTypeRaw {
		link = traffic.LinkRaw
	}
	asked, seen := time.Now(), 0
	for ctx.Err() == nil {
		records := p.w.Reserve(liveBatch)
		n, failed := p.fillLive(records, h, link)
		p.w.Commit(n, p.frame)
		p.settle()
		l.packets.Add(uint64(n))
		if now := time.Now(); now.Sub(asked) >= statsEvery || failed != nil {
			asked = now
			if s, err := h.Stats(); err == nil && s.PacketsDropped > seen {
				l.drops.Add(uint64(s.PacketsDropped - seen))
				l.lost.Store(now.UnixNano())
				p.w.Dropped(causeKernel, uint64(s.PacketsDropped-seen))
				seen = s.PacketsDropped
			}
		}
		if failed != nil {
			return fmt.Errorf("the interface %s went down or away: %w", l.c.cfg.Interface, failed)
		}
	}
	return nil
}

// fillLive makes records of the frames that are there, as many as fit, and
// waits for the first.
func (p *player) fillLive(records []traffic.Record, h *pcap.Handle, link traffic.LinkType) (n int, failed error) {
	p.recent.mu.Lock()
	defer p.recent.mu.Unlock()
	p.first = p.recent.next
	for ; n < len(records) && len(p.left) > 0; n++ {
		records[n], p.left = p.left[0], p.left[1:]
		p.recent.add(&capfile.Packet{}, records[n].Time)
	}
	octets := 0
	var next capfile.Packet
	for taken := 0; n < len(records) && taken < batchPackets && octets < batchBytes; taken++ {
		data, info, err := h.ZeroCopyReadPacketData()
		switch {
		case errors.Is(err, pcap.NextErrorTimeoutExpired):
			return n, nil
		case err != nil:
			return n, err
		}
		next = capfile.Packet{Time: info.Timestamp.UnixNano(), Link: link, Data: data, Wire: info.Length}
		p.total.packets++
		r := &records[n]
		if !p.parse(r, &next) {
			continue
		}
		r.Time = next.Time
		p.recent.add(&next, r.Time)
		octets += len(data)
		n++
		if p.parser.Several() {
			n += p.inside(records[n-1:], &next)
		}
	}
	return n, nil
}

func (l *library) doctor() (sdk.Rows, error) {
	rows := sdk.Rows{Columns: doctorColumns}
	say := func(check, state, format string, args ...any) {
		rows.Rows = append(rows.Rows, []string{check, state, fmt.Sprintf(format, args...)})
	}
	if err := l.health(); err != nil {
		say("interface", exporter.StateFault, "%v; the capture goes on when it is there", err)
	} else {
		say("interface", exporter.StateOK, "%s is open; %d frames count", l.c.cfg.Interface, l.packets.Load())
	}
	switch drops := l.drops.Load(); {
	case drops > 0 && time.Since(time.Unix(0, l.lost.Load())) < 10*time.Minute:
		say("drops", exporter.StateWarn, "%d frames were dropped beside %d that count: raise buffer, lower snap_length, or use the capture afpacket with several workers", drops, l.packets.Load())
	default:
		say("drops", exporter.StateOK, "%d frames were dropped beside %d that count", drops, l.packets.Load())
	}
	say("library", exporter.StateOK, "frames come through %s", liveName)
	return rows, nil
}

// missing says that there is no interface of a name, and which there are.
func missing(name string) error {
	if name == anyDevice && runtime.GOOS == "linux" {
		return nil
	}
	if afpacket.Supported {
		return afpacket.Missing(name)
	}
	all, err := net.Interfaces()
	if err != nil || slices.ContainsFunc(all, func(i net.Interface) bool { return i.Name == name }) {
		return err
	}
	return fmt.Errorf("there is no interface %q", name)
}

// checkLibrary compiles the filter.
func checkLibrary(c *config) (ds diag.Diagnostics) {
	if c.Filter == "" {
		return nil
	}
	if _, err := pcap.CompileBPFFilter(layers.LinkTypeEthernet, max(c.SnapLength, afpacket.MinSnapLength), c.Filter); err != nil {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr("filter"), "Not a filter expression", "libpcap says: %v. See pcap-filter(7).", err))
	}
	return ds
}

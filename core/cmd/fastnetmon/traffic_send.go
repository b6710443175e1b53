package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// sendFlags say how telemetry of a scenario is sent.
type sendFlags struct {
	gen.Telemetry
	protocol string
	agent    string
	to       string
	rate     float64
	flood    bool
	even     bool
}

func (f *sendFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.protocol, "send", "", "tell of the traffic in a protocol instead of writing it: netflow5, netflow9, ipfix or sflow")
	flags.StringVar(&f.to, "to", "", "with --send: where to, as HOST:PORT; a test machine of your own")
	flags.Float64Var(&f.rate, "rate", 0, "with --send: flow records or samples per second, over and over, instead of the traffic's own time")
	flags.BoolVar(&f.flood, "flood", false, "with --send: as many records as the machine can, over and over")
	flags.Uint32Var(&f.Sampling, "sampling", 1, "with --send: the exporter looks at one packet in so many")
	flags.DurationVar(&f.Active, "active", time.Minute, "with --send: flows that last longer are cut (active timeout)")
	flags.DurationVar(&f.Inactive, "inactive", 15*time.Second, "with --send: flows without packets for so long are over (inactive timeout)")
	flags.DurationVar(&f.Templates, "templates", 30*time.Second, "with --send: time between templates")
	flags.BoolVar(&f.Expanded, "expanded", false, "with --send sflow: samples in their expanded form")
	flags.DurationVar(&f.Counters, "counters", 0, "with --send sflow: time between counter samples, which tell the names uplink and downlink too; 0: none")
	flags.Uint32Var(&f.Domain, "domain", 1, "with --send: NetFlow 5 engine, NetFlow 9 source id, IPFIX domain, sFlow sub-agent")
	flags.StringVar(&f.agent, "agent", "192.0.2.1", "with --send sflow: the agent's address")
	flags.BoolVar(&f.even, "even", false, "all hosts have the same rate, not a few of them most of the traffic")
}

// exporter reads what the flags say of the exporter.
func (f *sendFlags) exporter() (err error) {
	f.Protocol = gen.Protocol(f.protocol)
	if f.Agent, err = netip.ParseAddr(f.agent); err != nil {
		return fmt.Errorf("--agent %q: not an address such as 192.0.2.1", f.agent)
	}
	return nil
}

// write writes what would be sent into a capture file.
func (f *sendFlags) write(path string, s *gen.Scenario, w io.Writer) error {
	if err := f.exporter(); err != nil {
		return err
	}
	if f.to != "" || f.rate != 0 || f.flood {
		return errors.New("--out writes what is sent in the traffic's own time: leave out --to, --rate and --flood")
	}
	if err := mayOverwrite(path); err != nil {
		return err
	}
	var told gen.Told
	if err := writeFile(path, func(file io.Writer) (err error) {
		told, err = f.WritePcap(file, s)
		return err
	}); err != nil {
		return failure(err)
	}
	_, err := fmt.Fprintf(w, "%s: %d datagrams in %s with %d records, which tell of %d packets and %d octets, seed %d\n",
		path, told.Datagrams, s.Duration, told.Records, told.Packets, told.Bytes, s.Seed)
	return failure(err)
}

// check reads what the flags say.
func (f *sendFlags) check() (to netip.AddrPort, err error) {
	if err := f.exporter(); err != nil {
		return to, err
	}
	switch {
	case f.to == "":
		return to, errors.New("--send needs --to HOST:PORT, a test machine of your own")
	case f.rate < 0:
		return to, fmt.Errorf("--rate %v: it must not be negative", f.rate)
	case f.rate > 0 && f.flood:
		return to, errors.New("--rate and --flood exclude each other")
	}
	return destination(f.to)
}

// destination resolves where to send to. It refuses what more than one machine
// would get.
func destination(text string) (netip.AddrPort, error) {
	fail := func(why string) (netip.AddrPort, error) {
		return netip.AddrPort{}, fmt.Errorf("--to %q: %s", text, why)
	}
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return fail("not HOST:PORT, as in 192.0.2.10:2055 or [2001:db8::10]:6343")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return fail("the port must be 1 to 65535")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		found, err := net.ResolveIPAddr("ip", host)
		if err != nil {
			return fail(err.Error())
		}
		addr, _ = netip.AddrFromSlice(found.IP)
	}
	switch addr = addr.Unmap(); {
	case addr.IsUnspecified():
		return fail("name the machine, for instance 127.0.0.1")
	case addr.IsMulticast():
		return fail("a multicast address: telemetry goes to one machine")
	case isBroadcast(addr):
		return fail("a broadcast address: telemetry goes to one machine")
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// isBroadcast tells of the limited broadcast address and those of our own
// networks.
func isBroadcast(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	if addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	a := addr.As4()
	for _, o := range ours {
		n, ok := o.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		ip, mask := n.IP.To4(), n.Mask[len(n.Mask)-4:]
		if ones, _ := mask.Size(); ones > 30 {
			continue
		}
		all := true
		for i := range a {
			all = all && a[i] == ip[i]|^mask[i]
		}
		if all {
			return true
		}
	}
	return false
}

// telemetrySender sends a scenario's telemetry.
type telemetrySender struct {
	*sendFlags
	scenario *gen.Scenario
	to       netip.AddrPort
	out      *udpSender
	stamp    gen.Stamper
	told     gen.Told
	late     time.Duration // the largest time behind schedule
	next     int           // datagram of the pool
	batch    [][]byte
}

// send sends what the flags ask for and says what it was.
func (f *sendFlags) send(ctx context.Context, s *gen.Scenario, to netip.AddrPort, w io.Writer) error {
	out, err := dialSender(to)
	if err != nil {
		return failure(err)
	}
	defer out.Close()
	t := &telemetrySender{sendFlags: f, scenario: s, to: to, out: out}
	began := time.Now()
	if f.rate > 0 || f.flood {
		var pool *gen.Pool
		if pool, err = t.pool(); err == nil {
			began = time.Now()
			err = t.loop(ctx, pool)
		}
	} else {
		err = t.play(ctx)
	}
	if err != nil {
		return failure(err)
	}
	return failure(t.report(w, time.Since(began)))
}

// report prints what was sent.
func (t *telemetrySender) report(w io.Writer, took time.Duration) error {
	rate := float64(t.told.Records) / took.Seconds()
	_, err := fmt.Fprintf(w, "%v: %d datagrams, %d records of %d packets and %d octets in %.1f s (%.0f records/s), sampling 1 in %d, seed %d\n",
		t.to, t.told.Datagrams, t.told.Records, t.told.Packets, t.told.Bytes, took.Seconds(), rate, max(t.Sampling, 1), t.scenario.Seed)
	note := func(is bool, format string, args ...any) {
		if is && err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	note(t.told.Skipped > 0, "%d IPv6 flows left out: NetFlow 5 cannot tell of them", t.told.Skipped)
	note(t.late > 100*time.Millisecond, "fell behind by up to %v: this machine cannot make that much in time", t.late.Round(time.Millisecond))
	note(t.out.Refused > 0, "nobody listened there, %d times", t.out.Refused)
	return err
}

// play sends each datagram when the scenario has come to it.
func (t *telemetrySender) play(ctx context.Context) error {
	began := time.Now()
	t.scenario.Start = began
	var failed error
	one := make([][]byte, 1)
	told, err := t.Datagrams(t.scenario, func(d *gen.Datagram) bool {
		due := time.Duration(d.Time - began.UnixNano())
		if !waitUntil(ctx, began, due) {
			return false
		}
		t.late = max(t.late, time.Since(began)-due)
		t.stamp.Stamp(d, time.Now().UnixNano())
		one[0] = d.Data
		failed = t.out.Send(one)
		return failed == nil
	})
	t.told = told
	return errors.Join(err, failed)
}

// waitUntil waits until so long after a time. It reports false when the
// context has ended.
func waitUntil(ctx context.Context, began time.Time, due time.Duration) bool {
	for {
		left := due - time.Since(began)
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(left):
		}
	}
}

// pool renders what is sent over and over: of a time long enough to fill it.
func (t *telemetrySender) pool() (*gen.Pool, error) {
	s := *t.scenario
	s.Duration = max(s.Duration, 10*time.Minute)
	x := t.Telemetry
	if t.rate > 0 && t.rate < 300 { // a datagram ten times a second, for an even rate
		x.PerPacket = max(int(t.rate/10), 1)
	}
	return x.Pool(&s, min(max(1<<16, 4*s.Hosts), 1<<20))
}

// catchUp bounds how long sending at a rate goes on for what is still due.
const catchUp = 10 * time.Second

// loop sends a pool again and again, at a rate or as fast as it goes.
func (t *telemetrySender) loop(ctx context.Context, pool *gen.Pool) error {
	began := time.Now()
	var nextTemplates time.Duration
	for ctx.Err() == nil {
		now := time.Since(began)
		since := min(now, t.scenario.Duration) // what is due by the end is sent, a little late if need be
		if now >= t.scenario.Duration && (t.due() >= since || t.flood) || now-since > catchUp {
			return nil
		}
		if !t.flood {
			t.late = max(t.late, now-t.due())
		}
		at := began.Add(now).UnixNano()
		if pool.Templates != nil && since >= nextTemplates {
			nextTemplates = since + max(t.Every(), time.Millisecond)
			t.stamp.Stamp(pool.Templates, at)
			if err := t.out.Send([][]byte{pool.Templates.Data}); err != nil {
				return err
			}
		}
		if t.fill(pool, since, at); len(t.batch) == 0 {
			waitUntil(ctx, began, min(t.due()+1, t.scenario.Duration))
			continue
		}
		if err := t.out.Send(t.batch); err != nil {
			return err
		}
	}
	return nil
}

// fill puts what is due into the batch: each datagram of the pool at most
// once, since it is written into.
func (t *telemetrySender) fill(pool *gen.Pool, since time.Duration, at int64) {
	t.batch = t.batch[:0]
	most := min(sendBatch, len(pool.Datagrams))
	for len(t.batch) < most && (t.flood || t.due() < since) {
		d := pool.Datagrams[t.next]
		if t.next++; t.next == len(pool.Datagrams) {
			t.next = 0
		}
		t.stamp.Stamp(d, at)
		t.told.Datagrams++
		t.told.Records += uint64(d.Records)
		t.told.Packets += d.Packets
		t.told.Bytes += d.Bytes
		t.batch = append(t.batch, d.Data)
	}
}

// due is when the next datagram is to go, after the first.
func (t *telemetrySender) due() time.Duration {
	return time.Duration(float64(t.told.Records) / t.rate * 1e9)
}

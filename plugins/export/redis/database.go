package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// staleAfter is after how many periods rates that are not renewed go.
const staleAfter = 10

// leastStale keeps rates of short periods long enough to be looked at.
const leastStale = time.Minute

// database is a Redis.
type database struct {
	cfg    config
	client *redis.Client
}

// Connect connects and asks for a PING.
func (d *database) Connect(ctx context.Context) error {
	tls, err := d.cfg.TLS.Config()
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	o := &redis.Options{
		Network: "tcp", Addr: d.cfg.Address, Username: d.cfg.User, Password: d.cfg.Password, DB: d.cfg.Database, TLSConfig: tls,
		MaxRetries: -1, // the queue does that
		PoolSize:   2, ContextTimeoutEnabled: true, DisableIdentity: true,
		ReadTimeout: d.cfg.Delivery.Timeout, WriteTimeout: d.cfg.Delivery.Timeout, DialTimeout: d.cfg.Delivery.Timeout,
	}
	if d.cfg.Socket != "" {
		o.Network, o.Addr = "unix", d.cfg.Socket
	}
	d.client = redis.NewClient(o)
	return d.client.Ping(ctx).Err()
}

// Close ends the connections.
func (d *database) Close() error {
	if d.client == nil {
		return nil
	}
	err := d.client.Close()
	d.client = nil
	return err
}

// key makes a key of our own layout.
func (d *database) key(parts ...string) string {
	prefix := d.cfg.Prefix
	if prefix == "" {
		prefix = "fastnetmon"
	}
	return prefix + ":" + strings.Join(parts, ":")
}

// pipeBatch is how many commands go out before answers are read.
const pipeBatch = 2000

// pipe sends commands in batches.
type pipe struct {
	ctx context.Context
	p   redis.Pipeliner
}

func (p *pipe) flush(least int) error {
	if p.p.Len() < max(1, least) {
		return nil
	}
	_, err := p.p.Exec(p.ctx)
	return err
}

// Snapshot writes the rates; the original has none.
func (d *database) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	p := &pipe{ctx, d.client.Pipeline()}
	stale := max(leastStale, staleAfter*s.Period)
	hash := func(key string, fields []any) error {
		p.p.HSet(ctx, key, fields...)
		p.p.Expire(ctx, key, stale)
		return p.flush(pipeBatch)
	}
	for i := range s.Totals {
		t := &s.Totals[i]
		if err := hash(d.key("total", "ipv"+strconv.Itoa(t.Family), t.Direction), rateFields(s, t.Counters, t.Flows)); err != nil {
			return err
		}
	}
	for i := range s.Networks {
		r := &s.Networks[i]
		if err := hash(d.key("network", r.Name, r.Direction), rateFields(s, r.Counters, r.Flows)); err != nil {
			return err
		}
	}
	for i := range s.Groups {
		r := &s.Groups[i]
		if err := hash(d.key("hostgroup", r.Name, r.Direction), rateFields(s, r.Counters, r.Flows)); err != nil {
			return err
		}
	}
	if err := d.hosts(s, p, hash, stale); err != nil {
		return err
	}
	if err := d.state(s, p, hash); err != nil {
		return err
	}
	return p.flush(1)
}

// hosts writes the hosts, and who has most of all traffic.
func (d *database) hosts(s *sdk.Snapshot, p *pipe, hash func(string, []any) error, stale time.Duration) error {
	top := map[string][]redis.Z{"incoming": nil, "outgoing": nil}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		name := sdk.TargetText(h.Host)
		fields := append(rateFields(s, h.Counters, h.Flows), "hostgroup", h.Group, "network", h.Network)
		if err := hash(d.key("host", name, h.Direction), fields); err != nil {
			return err
		}
		rates := delivery.Rates{Counters: h.Counters}
		top[h.Direction] = append(top[h.Direction], redis.Z{Score: rates.Of("total").PPS, Member: name})
	}
	for _, direction := range slices.Sorted(maps.Keys(top)) {
		key := d.key("top", direction)
		p.p.Del(p.ctx, key)
		if len(top[direction]) > 0 {
			p.p.ZAdd(p.ctx, key, top[direction]...)
			p.p.Expire(p.ctx, key, stale)
		}
	}
	return p.flush(pipeBatch)
}

// state writes the attacks and mitigations that are not over, the inputs and the
// program's figures.
func (d *database) state(s *sdk.Snapshot, p *pipe, hash func(string, []any) error) error {
	attacks, mitigations := d.key("attacks"), d.key("mitigations")
	p.p.Del(p.ctx, attacks, mitigations)
	for i := range s.Attacks {
		p.p.SAdd(p.ctx, attacks, s.Attacks[i].ID)
	}
	for i := range s.Mitigations {
		p.p.SAdd(p.ctx, mitigations, s.Mitigations[i].ID)
	}
	for i := range s.Ledger {
		l := &s.Ledger[i]
		fields := []any{"time", unix(s.Time), "received", l.Received, "used", l.Used, "in_flight", l.InFlight}
		for _, cause := range slices.Sorted(maps.Keys(l.Dropped)) {
			fields = append(fields, "dropped_"+cause, l.Dropped[cause])
		}
		if err := hash(d.key("input", l.Input), fields); err != nil {
			return err
		}
	}
	fields := []any{"time", unix(s.Time)}
	for _, m := range s.System {
		fields = append(fields, m.Name, number(m.Value))
	}
	return hash(d.key("system"), fields)
}

func rateFields(s *sdk.Snapshot, counters []sdk.CounterRate, flows float64) []any {
	out := make([]any, 0, 4*len(counters)+4)
	out = append(out, "time", unix(s.Time), "flows", number(flows))
	for _, c := range counters {
		out = append(out, c.Counter+"_pps", number(c.PPS), c.Counter+"_bps", number(c.BPS))
	}
	return out
}

// number writes a rate without an exponent.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// unix writes a time in seconds.
func unix(t time.Time) string { return number(float64(t.UnixMilli()) / 1000) }

// Events writes events.
func (d *database) Events(ctx context.Context, b delivery.Batch) error {
	for i := range b.Events {
		var err error
		if d.cfg.Layout == delivery.LayoutFastNetMon {
			err = d.community(ctx, &b.Events[i])
		} else {
			err = d.event(ctx, &b.Events[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// once adds an event to the stream unless it was added before, in one step, so
// that it is there once whatever answers are lost.
var once = redis.NewScript(`
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
end
return 1`)

// seenFor is how long the stream's events are told from ones that come again.
const seenFor = 24 * time.Hour

// event writes an attack's newest document and a message of the stream.
func (d *database) event(ctx context.Context, e *sdk.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return delivery.Refused(fmt.Errorf("an event cannot be written as JSON: %w", err))
	}
	document := d.key("attack", e.ID)
	if m := e.Mitigation; e.Type == sdk.MitigationChanged && m != nil {
		document = d.key("mitigation", m.ID)
	}
	if err := d.client.Set(ctx, document, text, d.cfg.Keep).Err(); err != nil {
		return err
	}
	return once.Run(ctx, d.client, []string{d.key("seen", e.Key()), d.key("events")},
		int(seenFor.Seconds()), d.cfg.MaxEvents, "event", string(e.Type), "id", e.ID, "seq", e.Seq, "target", e.TargetName(), "direction", e.Direction, "json", text).Err()
}

// community writes what FastNetMon Community does at a ban: IPv4 hosts only, and
// for good.
func (d *database) community(ctx context.Context, e *sdk.Event) error {
	if e.Type == sdk.MitigationChanged || e.Type == sdk.AttackEnded || !e.Target.IsSingleIP() || !e.Target.Addr().Is4() {
		return nil
	}
	prefix := e.Target.Addr().String() + "_"
	if d.cfg.Prefix != "" {
		prefix = d.cfg.Prefix + "_" + prefix
	}
	if e.Type == sdk.AttackStarted {
		text, err := report.Document(e, "ban")
		if err != nil {
			return delivery.Refused(err)
		}
		return d.client.Set(ctx, prefix+"information", text, 0).Err()
	}
	if e.Evidence == nil || len(e.Evidence.Dump) == 0 {
		return nil
	}
	if err := d.client.Set(ctx, prefix+"packets_dump", report.Text(e), 0).Err(); err != nil {
		return err
	}
	return d.client.Set(ctx, prefix+"flow_dump", report.Flows(e), 0).Err()
}

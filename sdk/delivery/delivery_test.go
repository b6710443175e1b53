package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// store is one that a test switches off and on.
type store struct {
	mu       sync.Mutex
	down     error // what Connect and writes fail with
	refuse   func(e *sdk.Event) bool
	late     bool // writes fail once they are done
	got      []string
	again    int
	periods  []time.Time
	connects int
	closed   int
}

func (s *store) set(f func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *store) Connect(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects++
	return s.down
}

func (s *store) Snapshot(_ context.Context, sn *sdk.Snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		s.periods = append(s.periods, sn.Time)
	}
	return s.down
}

func (s *store) Events(_ context.Context, b Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	for i := range b.Events {
		if s.refuse != nil && s.refuse(&b.Events[i]) {
			return Refused(errors.New("no"))
		}
	}
	for i := range b.Events {
		name := fmt.Sprintf("%s/%d", b.Events[i].ID, b.Events[i].Seq)
		if b.Again { // as a store that can tell does
			s.again++
			if len(s.got) > 0 && strings.Contains(strings.Join(s.got, " ")+" ", name+" ") {
				continue
			}
		}
		s.got = append(s.got, name)
	}
	if s.late {
		s.late = false
		return errors.New("no answer")
	}
	return nil
}

func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func quick() Config {
	c := Defaults()
	c.MinBackoff, c.MaxBackoff = 10*time.Millisecond, 20*time.Millisecond
	return c
}

func start(t *testing.T, s Store, c Config, env sdk.Env) *Queue {
	t.Helper()
	q := New(s, c, env)
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}

func stop(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func event(id string, seq int) sdk.Event {
	return sdk.Event{Type: sdk.AttackUpdated, ID: id, Seq: uint32(seq), Target: netip.MustParsePrefix("10.0.0.1/32")}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to " + what)
		}
	}
}

func value(q *Queue, name string) float64 {
	for _, m := range q.Metrics() {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// A store goes and comes; the process ends and begins again: every event is
// there once and in order.
func TestOnceInOrder(t *testing.T) {
	dir, s := t.TempDir(), &store{down: errors.New("connection refused")}
	var want []string
	n := 0
	for round := range 4 {
		q := start(t, s, quick(), sdk.Env{StateDir: dir})
		for range 300 {
			n++
			e := event(fmt.Sprint("a", n%7), n)
			want = append(want, fmt.Sprintf("%s/%d", e.ID, e.Seq))
			if err := q.Events(t.Context(), []sdk.Event{e, e}); err != nil { // twice, as after a lost answer
				t.Fatal(err)
			}
			if n%100 == 0 {
				s.set(func(s *store) { s.late = true })
			}
		}
		if round%2 == 1 {
			s.set(func(s *store) { s.down = nil })
			until(t, "all events delivered", func() bool { return value(q, "waiting:of=events") == 0 })
			s.set(func(s *store) { s.down = errors.New("connection refused") })
		}
		stop(t, q)
	}
	if got := strings.Join(s.got, " "); got != strings.Join(want, " ") {
		t.Errorf("%d events, want %d:\n%s", len(s.got), len(want), got)
	}
	if s.closed != 4 || s.again == 0 {
		t.Errorf("closed %d times, %d events marked", s.closed, s.again)
	}
}

// Refused events are passed over, the others of the batch are not.
func TestRefused(t *testing.T) {
	s := &store{down: errors.New("later"), refuse: func(e *sdk.Event) bool { return e.Seq%10 == 3 }}
	q := start(t, s, quick(), sdk.Env{})
	for i := range 50 {
		if err := q.Events(t.Context(), []sdk.Event{event("x", i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.set(func(s *store) { s.down = nil })
	until(t, "the end", func() bool { return value(q, "waiting:of=events") == 0 })
	if d, r := value(q, "delivered_total:of=events"), value(q, "dropped_total:of=events,reason=refused"); d != 45 || r != 5 || len(s.got) != 45 {
		t.Errorf("%v delivered, %v refused, %d there", d, r, len(s.got))
	}
	stop(t, q)
}

// While the store is away the newest snapshots wait; the pauses grow; few lines
// are logged; Health says it in the end.
func TestAway(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	s := &store{down: errors.New("dial tcp 127.0.0.1:1: connection refused")}
	c := quick()
	c.Snapshots = 5
	q := start(t, s, c, sdk.Env{Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &mu})})
	for i := range 100 {
		if err := q.Export(t.Context(), sdk.Snapshot{Time: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "ten tries", func() bool { return value(q, "retried_total:of=snapshots") >= 10 })
	if w, d := value(q, "waiting:of=snapshots"), value(q, "dropped_total:of=snapshots,reason=full"); w != 5 || d != 95 {
		t.Errorf("%v wait, %v dropped", w, d)
	}
	if err := q.Health(t.Context()); err != nil {
		t.Error(err)
	}
	q.rates.failing.Store(time.Now().Add(-time.Minute).UnixNano())
	if err := q.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("health: %v", err)
	}
	s.set(func(s *store) { s.down = nil })
	until(t, "the newest delivered", func() bool { return value(q, "waiting:of=snapshots") == 0 })
	if len(s.periods) != 5 || s.periods[0].Unix() != 95 || s.periods[4].Unix() != 99 {
		t.Errorf("%v", s.periods)
	}
	stop(t, q)
	if n := strings.Count(log.String(), "\n"); n > 3 {
		t.Errorf("%d lines are logged:\n%s", n, log.String())
	}
}

// hanging never answers, but heeds its context.
type hanging struct{ store }

func (*hanging) Connect(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestClosesInTime(t *testing.T) {
	q := start(t, &hanging{}, quick(), sdk.Env{})
	if err := q.Events(t.Context(), []sdk.Event{event("x", 1)}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop(t, q)
	if took := time.Since(began); took > closeTime+900*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

// What comes out of the spool is what went in, every field of it.
func TestEventRoundTrip(t *testing.T) {
	var e sdk.Event
	fill(reflect.ValueOf(&e).Elem(), 0)
	b, err := encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, e) {
		t.Errorf("%+v\nwant\n%+v", got, e)
	}
	b, err = encode(&sdk.Event{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(b); err != nil || !reflect.DeepEqual(got, sdk.Event{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// fill sets every field of a value.
func fill(v reflect.Value, n int) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(1700000000, int64(n)).UTC()
		return
	case *netip.Prefix:
		*x = netip.MustParsePrefix("2001:db8::/32")
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5 + float64(n))
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(n + 1))
	case reflect.Uint32, reflect.Uint64, reflect.Uint8, reflect.Uint, reflect.Uint16:
		v.SetUint(uint64(n + 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n+1)
		fill(v.Index(1), n+2)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n+i)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n+i)
		}
	default:
		panic("a kind of field that fill does not know: " + v.Type().String())
	}
}

func TestConfigCheck(t *testing.T) {
	c := Defaults()
	if ds := c.Check(nil); ds.Err() != nil {
		t.Error(ds)
	}
	c = Config{Snapshots: 0, Spool: 1, Timeout: 1, MinBackoff: time.Second, MaxBackoff: time.Millisecond}
	if ds := c.Check(diag.Path{}.Attr("delivery")); len(ds) != 4 || ds[0].Path.String() != "delivery.snapshots" {
		t.Errorf("%v", ds)
	}
}

func TestTLS(t *testing.T) {
	if ds := (&TLS{Cert: "x"}).Check(nil); ds.Err() == nil {
		t.Error("a certificate without key is accepted")
	}
	for _, c := range []*TLS{{CA: filepath.Join(t.TempDir(), "none")}, {CA: "tls.go"}, {Cert: "tls.go", Key: "tls.go"}} {
		if _, err := c.Config(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if c, err := (*TLS)(nil).Config(); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
}

// BenchmarkQueue is an event from the core to a store that takes it.
func BenchmarkQueue(b *testing.B) {
	s := &store{}
	q := New(s, Defaults(), sdk.Env{StateDir: b.TempDir()})
	if err := q.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := q.Events(b.Context(), []sdk.Event{event("x", i)}); err != nil {
			b.Fatal(err)
		}
	}
	_ = q.Close(b.Context())
}

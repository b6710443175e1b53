package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// diary keeps the calls in order, a line each.
const diary = `dir=$1; shift
if [ -e "$dir/fail" ]; then echo "no such router" >&2; exit 7; fi
echo "$4 $1 $2" >> "$dir/diary"
env | sort > "$dir/$4.env"
cat > "$dir/$4.stdin"
`

// bed is a mitigating script that can be ended and started again.
type bed struct {
	t        *testing.T
	s        *script
	dir      string // the script's
	state    string
	cancel   context.CancelFunc
	statuses chan sdk.MitigationStatus
	ended    chan struct{}
}

func newBed(t *testing.T, text string) *bed {
	b := &bed{t: t, dir: t.TempDir(), state: t.TempDir()}
	if err := os.WriteFile(filepath.Join(b.dir, "script.sh"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bed) start() {
	b.t.Helper()
	c := config{
		Role: roleMitigate, Command: []string{"/bin/sh", filepath.Join(b.dir, "script.sh"), b.dir}, Format: formatText, Details: true,
		Timeout: 30 * time.Second, MaxConcurrent: 4,
	}
	b.s = newScript(c, hclog.NewNullLogger(), b.state)
	b.s.retry = 200 * time.Millisecond
	if err := b.s.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.statuses, b.ended = make(chan sdk.MitigationStatus, 10000), make(chan struct{})
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	s, statuses, ended := b.s, b.statuses, b.ended
	go func() {
		defer close(ended)
		_ = s.Watch(ctx, func(st sdk.MitigationStatus) { statuses <- st }) // it has no error
	}()
}

func (b *bed) stop() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b.cancel()
	<-b.ended
	if err := b.s.Close(ctx); err != nil {
		b.t.Error(err)
	}
}

func (b *bed) sync(desired ...sdk.Mitigation) {
	b.t.Helper()
	if err := b.s.Sync(b.t.Context(), desired); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for a status.
func (b *bed) until(id string, state sdk.MitigationState) sdk.MitigationStatus {
	b.t.Helper()
	for limit := time.After(20 * time.Second); ; {
		select {
		case st := <-b.statuses:
			if st.ID == id && st.State == state {
				return st
			}
		case <-limit:
			b.t.Fatalf("mitigation %s does not become %s", id, state)
		}
	}
}

func (b *bed) diary() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "diary"))
	return strings.TrimSpace(string(text))
}

func (b *bed) wantDiary(lines ...string) {
	b.t.Helper()
	if got, want := b.diary(), strings.Join(lines, "\n"); got != want {
		b.t.Errorf("called:\n%s\nwant:\n%s", got, want)
	}
}

func mitigation(id, target, direction string) sdk.Mitigation {
	e := attack()
	e.Target, e.Direction, e.Mode, e.WouldHave = netip.MustParsePrefix(target), direction, "enforce", false
	return sdk.Mitigation{ID: id, AttackID: e.ID, Target: e.Target, Direction: direction, Event: e, Requested: e.Time}
}

func TestMitigation(t *testing.T) {
	b := newBed(t, diary)
	m := mitigation("m1", "10.10.10.221/32", "incoming")
	m.By, m.Reason = "ops", "customer's\x00 wish"
	b.sync(m)
	b.until("m1", sdk.MitigationSent)
	if got := read(t, b.dir, "ban.stdin"); got != string(counters(m.Event)) {
		t.Errorf("standard input:\n%s", got)
	}
	env := read(t, b.dir, "ban.env")
	for _, want := range []string{"FASTNETMON_MITIGATION_ID=m1\n", "FASTNETMON_BY=ops\n", "FASTNETMON_REASON=customer's wish\n", "FASTNETMON_ACTION=ban\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment lacks %q", want)
		}
	}
	b.sync(m) // nothing new
	r := traffic.Record{Src: netip.MustParseAddr("198.51.100.1").As16(), Dst: netip.MustParseAddr("10.10.10.221").As16(), Packets: 1, Bytes: 60, Protocol: traffic.ProtoTCP}
	m.Event.Type, m.Event.Evidence = sdk.AttackUpdated, &sdk.EvidenceReport{Complete: true, Dump: []sdk.Sample{{Record: traffic.Bytes([]traffic.Record{r})}}}
	b.sync(m)
	b.sync(m)
	b.sync()
	b.until("m1", sdk.MitigationReleased)
	b.sync()
	lines := strings.Split(b.diary(), "\n")
	if len(lines) == 3 { // the end may overtake the packets
		b.wantDiary("ban 10.10.10.221 incoming", "attack_details 10.10.10.221 incoming", "unban 10.10.10.221 incoming")
	} else {
		b.wantDiary("ban 10.10.10.221 incoming", "unban 10.10.10.221 incoming")
	}
	if entries, _ := os.ReadFile(filepath.Join(b.state, "bans.json")); strings.Contains(string(entries), "m1") {
		t.Errorf("still kept: %s", entries)
	}
}

// A restart calls neither twice, and takes back what is not wanted any more.
func TestMitigationRestart(t *testing.T) {
	b := newBed(t, diary)
	stays, goes := mitigation("stays", "10.0.0.1/32", "incoming"), mitigation("goes", "2001:db8::1/128", "outgoing")
	b.sync(stays)
	b.until("stays", sdk.MitigationSent)
	b.sync(stays, goes)
	b.until("goes", sdk.MitigationSent)
	b.stop()
	b.start()
	b.until("goes", sdk.MitigationSent) // told at once; without a Sync nothing is called
	b.wantDiary("ban 10.0.0.1 incoming", "ban 2001:db8::1 outgoing")
	b.sync(stays)
	b.until("goes", sdk.MitigationReleased)
	b.wantDiary("ban 10.0.0.1 incoming", "ban 2001:db8::1 outgoing", "unban 2001:db8::1 outgoing")
	if !strings.Contains(read(t, b.dir, "unban.env"), "FASTNETMON_MITIGATION_ID=goes\n") {
		t.Error("unban was not told what it is for")
	}
}

// A call in whose middle the plugin ends is made again.
func TestMitigationInterrupted(t *testing.T) {
	b := newBed(t, `if [ ! -e "$1/go" ]; then echo x > "$1/began"; sleep 600; fi`+"\n"+diary)
	m := mitigation("m1", "10.0.0.1/32", "incoming")
	b.sync(m)
	appears(t, filepath.Join(b.dir, "began"))
	b.stop()
	if err := os.WriteFile(filepath.Join(b.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.until("m1", sdk.MitigationPending)
	b.sync(m)
	b.until("m1", sdk.MitigationSent)
	b.wantDiary("ban 10.0.0.1 incoming")
}

// Several mitigations of one target share a ban; a script that does not look at
// the direction must not lose the other direction's.
func TestMitigationsOfOneTarget(t *testing.T) {
	b := newBed(t, diary)
	one, two, out := mitigation("one", "10.0.0.1/32", "incoming"), mitigation("two", "10.0.0.1/32", "incoming"), mitigation("out", "10.0.0.1/32", "outgoing")
	b.sync(one)
	b.until("one", sdk.MitigationSent)
	b.sync(one, two)
	b.until("two", sdk.MitigationSent)
	b.sync(two)
	b.until("one", sdk.MitigationReleased)
	b.sync(two, out)
	b.until("out", sdk.MitigationSent)
	b.wantDiary("ban 10.0.0.1 incoming", "ban 10.0.0.1 outgoing")
	b.sync(out)
	b.until("two", sdk.MitigationReleased)
	b.until("out", sdk.MitigationSent)
	b.wantDiary("ban 10.0.0.1 incoming", "ban 10.0.0.1 outgoing", "unban 10.0.0.1 incoming", "ban 10.0.0.1 outgoing")
}

// A script that fails is told of, and called again.
func TestMitigationFails(t *testing.T) {
	b := newBed(t, diary)
	fail := filepath.Join(b.dir, "fail")
	if err := os.WriteFile(fail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := mitigation("m1", "10.0.0.1/32", "incoming")
	b.sync(m)
	st := b.until("m1", sdk.MitigationFailed)
	for _, want := range []string{"exit status 7", "no such router", "tried once"} {
		if !strings.Contains(st.Cause, want) {
			t.Errorf("the cause %q lacks %q", st.Cause, want)
		}
	}
	if err := b.s.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "the last call failed") {
		t.Errorf("health: %v", err)
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	b.until("m1", sdk.MitigationSent) // after retryFirst, by itself
	if err := b.s.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
}

// What never ran has not to be taken back.
func TestMitigationMissing(t *testing.T) {
	b := newBed(t, diary)
	b.s.cfg.Command = []string{filepath.Join(b.dir, "none")}
	b.sync(mitigation("m1", "10.0.0.1/32", "incoming"))
	if st := b.until("m1", sdk.MitigationFailed); !strings.Contains(st.Cause, "cannot start") {
		t.Errorf("the cause is %q", st.Cause)
	}
	b.sync()
	b.until("m1", sdk.MitigationReleased)
}

// A script that never ends is stopped; Sync waits for nothing, and no more run
// at a time than may.
func TestMitigationFlood(t *testing.T) {
	b := newBed(t, `dir=$1; shift
echo "$1" > "$dir/now.$$"; ls "$dir" | grep -c '^now' >> "$dir/counts"; sleep 0.05; rm "$dir/now.$$"`)
	var all []sdk.Mitigation
	for i := range 200 {
		all = append(all, mitigation(fmt.Sprint("m", i), fmt.Sprintf("10.0.%d.%d/32", i/100, i%100), "incoming"))
	}
	began := time.Now()
	b.sync(all...)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("Sync took %v", d)
	}
	for left := len(all); left > 0; {
		if st := <-b.statuses; st.State == sdk.MitigationSent {
			left--
		}
	}
	for _, n := range strings.Fields(read(t, b.dir, "counts")) {
		if len(n) > 1 || n > "4" {
			t.Errorf("%s ran at a time, max_concurrent is 4", n)
		}
	}
}

func TestSyncOfNotifier(t *testing.T) {
	s, _, _ := setup(t, "", nil)
	if err := s.Sync(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `role = "mitigate"`) {
		t.Errorf("error %v", err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// attack is an event with every counter different.
func attack() sdk.Event {
	e := sdk.Event{
		Type: sdk.AttackStarted, ID: "0f5c1e", Seq: 1, Time: time.Unix(1_700_000_000, 5).UTC(), Started: time.Unix(1_700_000_000, 5).UTC(),
		Target: netip.MustParsePrefix("10.10.10.221/32"), Direction: "incoming", HostGroup: "default", Network: "customers",
		Pipeline: "main", Mode: "monitor", WouldHave: true, Revision: "00000000000000a1",
		Crossing: sdk.Crossing{
			Threshold: "flood", Scope: "host", Counter: "total", Unit: "pps", Value: 99059.25, Limit: 20000,
			Window: 5 * time.Second, Rule: "average", At: time.Unix(1_700_000_000, 5).UTC(),
		},
		AttackType: "syn_flood", Protocol: "tcp", InitialPPS: 99059.9, PeakPPS: 120000.4, Flows: [2]float64{98926.7, 0.99},
	}
	for i, name := range []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"} {
		n := float64(i + 1)
		e.Incoming = append(e.Incoming, sdk.CounterRate{Counter: name, PPS: n*1000 + 0.9, BPS: n*1e7 + 999_999})
		e.Outgoing = append(e.Outgoing, sdk.CounterRate{Counter: name, PPS: n * 10, BPS: n * 1e5})
	}
	return e
}

// logged is a log that a test reads.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// setup makes a plugin that runs text as a shell script, in dir.
func setup(t *testing.T, text string, change func(*config)) (s *script, dir string, log *logged) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "script.sh")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config{
		Role: roleNotify, Command: []string{"/bin/sh", path, dir}, Format: formatText,
		Timeout: 30 * time.Second, MaxConcurrent: 4,
	}
	if change != nil {
		change(&c)
	}
	log = &logged{}
	return newScript(c, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug}), ""), dir, log
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// keep keeps all that a script is given, in files named by action.
const keep = `dir=$1; shift
printf '%s\n' "$@" > "$dir/$4.args"
env | sort > "$dir/$4.env"
cat > "$dir/$4.stdin"
`

// counters is what a ban's standard input holds.
func counters(e sdk.Event) []byte { return report.Counters(&e) }

// The second call comes once, when the attack's packets are there, with the
// whole report.
func TestDetails(t *testing.T) {
	e := attack()
	e.Type, e.Seq = sdk.AttackUpdated, 2
	r := traffic.Record{
		Src: netip.MustParseAddr("198.51.100.1").As16(), Dst: netip.MustParseAddr("10.10.10.221").As16(), Packets: 512, Bytes: 30720, Sampling: 512,
		SrcPort: 1025, DstPort: 80, Protocol: traffic.ProtoTCP, TCPFlags: traffic.FlagSYN, TTL: 64,
	}
	e.Evidence = &sdk.EvidenceReport{Samples: 1, Dump: []sdk.Sample{{Time: e.Time, Record: traffic.Bytes([]traffic.Record{r})}}}
	s, dir, _ := setup(t, keep, func(c *config) { c.Details = true })
	notify := func() (called bool) {
		t.Helper()
		if err := s.Notify(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(filepath.Join(dir, "attack_details.args"))
		return err == nil
	}
	if notify() {
		t.Error("it was called before the packets were there")
	}
	e.Evidence.Complete = true
	if !notify() {
		t.Fatal("it was not called")
	}
	const line = "198.51.100.1:1025 > 10.10.10.221:80 protocol: tcp flags: syn frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 512  \n"
	if got := read(t, dir, "attack_details.stdin"); got != string(report.Text(&e)) || !strings.Contains(got, line) {
		t.Errorf("standard input:\n%s", got)
	}
	if err := os.Remove(filepath.Join(dir, "attack_details.args")); err != nil {
		t.Fatal(err)
	}
	if notify() {
		t.Error("it was called twice")
	}
	s, dir, _ = setup(t, keep, nil)
	if notify() {
		t.Error("it was called with details = false")
	}
}

func TestBanAndUnban(t *testing.T) {
	t.Setenv("PLUGIN_CLIENT_CERT", "secret")
	t.Setenv("TZ", "UTC")
	s, dir, _ := setup(t, keep, func(c *config) { c.Environment = map[string]string{"TOKEN": "t0k"} })
	e := attack()
	if err := s.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "ban.args"), "10.10.10.221\nincoming\n99059\nban\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got := read(t, dir, "ban.stdin"); got != string(counters(e)) {
		t.Errorf("standard input:\n%s", got)
	}
	env := read(t, dir, "ban.env")
	for _, want := range []string{
		"FASTNETMON_ACTION=ban\n", "FASTNETMON_ATTACK_ID=0f5c1e\n", "FASTNETMON_VALUE=99059.25\n",
		"FASTNETMON_LIMIT=20000\n", "FASTNETMON_WOULD_HAVE=true\n", "TOKEN=t0k\n", "TZ=UTC\n", "PATH=",
	} {
		if !strings.Contains(env, want) {
			t.Errorf("environment lacks %q:\n%s", want, env)
		}
	}
	if strings.Contains(env, "PLUGIN_CLIENT_CERT") {
		t.Error("the plugin's own environment leaks into the script's")
	}

	e.Type, e.Seq = sdk.AttackUpdated, 2
	if err := s.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	e.Type, e.Seq = sdk.AttackEnded, 3
	if err := s.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "unban.args"), "10.10.10.221\nincoming\n99059\nunban\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got := read(t, dir, "unban.stdin"); got != "" {
		t.Errorf("standard input of unban: %q", got)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.args"))
	if len(files) != 2 {
		t.Errorf("calls: %v", files)
	}
}

func TestJSON(t *testing.T) {
	s, dir, _ := setup(t, keep, func(c *config) { c.Format = formatJSON })
	e := attack()
	for _, e.Type = range []sdk.EventType{sdk.AttackStarted, sdk.AttackEnded} {
		if err := s.Notify(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for file, event := range map[string]string{"ban.stdin": "attack.started", "unban.stdin": "attack.ended"} {
		var got map[string]any
		if err := json.Unmarshal([]byte(read(t, dir, file)), &got); err != nil {
			t.Fatal(err)
		}
		if got["event"] != event || got["target"] != "10.10.10.221" || got["value"] != 99059.25 {
			t.Errorf("%s: %v", file, got)
		}
	}
}

// In either mode a script that notifies is told of attacks, and one that
// mitigates is not: it is called for mitigations.
func TestActions(t *testing.T) {
	notify, _, _ := setup(t, "", nil)
	mitigate, _, _ := setup(t, "", func(c *config) { c.Role = roleMitigate })
	for typ, want := range map[sdk.EventType]string{
		sdk.AttackStarted: "ban", sdk.AttackEnded: "unban", sdk.AttackUpdated: "", sdk.ReplayFinished: "",
	} {
		for _, mode := range []string{"monitor", "enforce"} {
			e := attack()
			e.Type, e.Mode, e.WouldHave, e.Lifted = typ, mode, mode == "monitor", true
			if got := notify.action(e); got != want {
				t.Errorf("%s, %s: %q, want %q", typ, mode, got, want)
			}
			if got := mitigate.action(e); got != "" {
				t.Errorf("%s, %s: a mitigating script is called with %q", typ, mode, got)
			}
		}
	}
}

// A script that asks for it is told of what a person has to decide.
func TestToldOfMitigations(t *testing.T) {
	e := attack()
	e.Type, e.Mitigation = sdk.MitigationChanged, &sdk.MitigationReport{
		ID: "m1", Target: e.Target, Direction: "incoming", Action: "action.gobgp.edge", State: sdk.MitigationHeld, Cause: "max_active",
	}
	s, dir, _ := setup(t, keep, func(c *config) { c.Mitigations = true })
	if err := s.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if args := read(t, dir, "mitigation_held.args"); args != "10.10.10.221\nincoming\n99059\nmitigation_held\n" {
		t.Errorf("arguments %q", args)
	}
	if env := read(t, dir, "mitigation_held.env"); !strings.Contains(env, "FASTNETMON_MITIGATION_ID=m1\n") {
		t.Errorf("environment:\n%s", env)
	}
	if text := read(t, dir, "mitigation_held.stdin"); !strings.Contains(text, "held release m1") {
		t.Errorf("standard input:\n%s", text)
	}
	s, _, _ = setup(t, keep, nil)
	if got := s.action(e); got != "" {
		t.Errorf("a script that knows nothing of it is called with %q", got)
	}
}

// Text from the network or the configuration never meets a shell.
func TestNoShell(t *testing.T) {
	s, dir, _ := setup(t, keep, nil)
	e := attack()
	e.Direction = "$(touch " + dir + "/pwned); `id` ' \" \n*"
	if err := s.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "ban.args"); got != "10.10.10.221\n"+e.Direction+"\n99059\nban\n" {
		t.Errorf("arguments %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); !errors.Is(err, os.ErrNotExist) {
		t.Error("an argument was executed")
	}
}

// For one target, ban is over before unban begins; other targets do not wait.
func TestOrder(t *testing.T) {
	s, dir, _ := setup(t, `dir=$1; shift
echo "begin $4" >> "$dir/$1.log"
if [ $4 = ban ] && [ $1 = 10.10.10.221 ]; then : > "$dir/begun"; while [ ! -e "$dir/go" ]; do sleep 0.01; done; fi
echo "end $4" >> "$dir/$1.log"`, nil)
	errs := make(chan error, 2)
	ban := attack()
	go func() { errs <- s.Notify(t.Context(), ban) }()
	for {
		if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	unban := attack()
	unban.Type = sdk.AttackEnded
	go func() { errs <- s.Notify(t.Context(), unban) }()

	other := attack()
	other.Target = netip.MustParsePrefix("10.10.10.222/32")
	if err := s.Notify(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	// One that gives up waiting does not let those behind it overtake.
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Notify(short, ban); err == nil || !strings.Contains(err.Error(), "was not called") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read(t, dir, "10.10.10.221.log"), "begin ban\nend ban\nbegin unban\nend unban\n"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	// The one that gave up leaves after the one before it.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := len(s.queues)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d queues are left over", n)
		}
	}
}

// No more scripts run at once than max_concurrent.
func TestConcurrency(t *testing.T) {
	s, dir, _ := setup(t, `dir=$1; mkdir "$dir/slot1" 2>/dev/null && mine=1 || { mkdir "$dir/slot2" && mine=2; } || { : > "$dir/toomany"; exit 1; }
sleep 0.02; rmdir "$dir/slot$mine"`, func(c *config) { c.MaxConcurrent = 2 })
	var wg sync.WaitGroup
	for i := range 12 {
		e := attack()
		e.Target = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)
		wg.Go(func() {
			if err := s.Notify(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := os.Stat(filepath.Join(dir, "toomany")); err == nil {
		t.Error("more than two scripts ran at once")
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const examples = "../../../examples/webhook/"

// rendered is what a template of examples makes of each sample.
func rendered(t *testing.T, name string) []any {
	t.Helper()
	c := defaults("http://127.0.0.1:1/")
	c.BodyFile = examples + name
	c.Variables = map[string]string{"chat_id": "-100", "routing_key": "R123"}
	s, err := read(c)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, e := range message.Samples() {
		b, err := s.template.Render(&e)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// at walks down objects and lists; what is not there is nil.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// text wants a string of some length.
func text(t *testing.T, v any, most int, path ...any) string {
	t.Helper()
	s, _ := at(v, path...).(string)
	if s == "" || len([]rune(s)) > most {
		t.Errorf("%v is %q: it must be a string of 1 to %d characters", path, s, most)
	}
	return s
}

// Slack: "text" is the fallback; a header has plain text of at most 150
// characters, a section text of 3000 or up to ten fields of 2000; 50 blocks.
func TestSlack(t *testing.T) {
	for _, v := range rendered(t, "slack.json.tmpl") {
		text(t, v, 40000, "text")
		blocks, _ := at(v, "blocks").([]any)
		if len(blocks) == 0 || len(blocks) > 50 {
			t.Errorf("%d blocks", len(blocks))
		}
		for _, b := range blocks {
			fields, _ := at(b, "fields").([]any)
			switch kind := at(b, "type"); {
			case kind == "header":
				text(t, b, 150, "text", "text")
			case kind == "section" && fields == nil:
				text(t, b, 3000, "text", "text")
			case kind == "section" && len(fields) <= 10:
				for _, f := range fields {
					text(t, f, 2000, "text")
					if at(f, "type") != "plain_text" {
						t.Errorf("a field of type %v", at(f, "type"))
					}
				}
			default:
				t.Errorf("a block of type %v with %d fields", kind, len(fields))
			}
		}
	}
}

// Teams' workflows take a message with an Adaptive Card of version 1.4.
func TestTeams(t *testing.T) {
	for _, v := range rendered(t, "teams.json.tmpl") {
		card := at(v, "attachments", 0, "content")
		if at(v, "type") != "message" || at(v, "attachments", 0, "contentType") != "application/vnd.microsoft.card.adaptive" ||
			at(card, "type") != "AdaptiveCard" || at(card, "version") != "1.4" {
			t.Errorf("no card: %v", v)
		}
		text(t, card, 1000, "body", 0, "text")
		facts, _ := at(card, "body", 1, "facts").([]any)
		if at(card, "body", 1, "type") != "FactSet" || len(facts) == 0 {
			t.Errorf("no facts: %v", card)
		}
		for _, f := range facts {
			text(t, f, 1000, "title")
			text(t, f, 1000, "value")
		}
	}
}

// Telegram: chat_id and text, of at most 4096 characters.
func TestTelegram(t *testing.T) {
	for _, v := range rendered(t, "telegram.json.tmpl") {
		if at(v, "chat_id") != "-100" {
			t.Errorf("chat_id is %v", at(v, "chat_id"))
		}
		text(t, v, 4096, "text")
	}
}

// PagerDuty, Events v2: routing_key, event_action and, to trigger,
// payload.summary (1024), source and severity; the same dedup_key (255) resolves.
func TestPagerDuty(t *testing.T) {
	var actions []any
	for _, v := range rendered(t, "pagerduty.json.tmpl") {
		actions = append(actions, at(v, "event_action"))
		text(t, v, 255, "dedup_key")
		text(t, v, 1024, "payload", "summary")
		text(t, v, 1024, "payload", "source")
		if at(v, "routing_key") != "R123" || !slices.Contains([]any{"critical", "error", "warning", "info"}, at(v, "payload", "severity")) {
			t.Errorf("%v", v)
		}
		if _, err := time.Parse(time.RFC3339, text(t, v, 40, "payload", "timestamp")); err != nil {
			t.Error(err)
		}
	}
	if want := []any{"trigger", "trigger", "resolve", "trigger", "trigger"}; !slices.Equal(actions, want) {
		t.Errorf("actions %v, want %v", actions, want)
	}
}

// A real Alertmanager shows an attack as an alert, and drops it at its end.
func TestAlertmanager(t *testing.T) {
	address := alertmanager(t)
	c := defaults("http://" + address + "/api/v2/alerts")
	c.BodyFile = examples + "alertmanager.json.tmpl"
	w := start(t, c, "")
	e := event(1, 1)
	e.Started, e.Time = time.Now().Add(-time.Minute), time.Now()
	e.ID = sdk.TestPrefix + "1" // so that Notify waits for the answer
	if err := w.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	alerts := active(t, address)
	if len(alerts) != 1 || at(alerts[0], "labels", "target") != "203.0.113.1" || at(alerts[0], "status", "state") != "active" || at(alerts[0], "annotations", "summary") == nil {
		t.Fatalf("alerts: %v", alerts)
	}
	e.Type, e.Seq, e.Time = sdk.AttackEnded, 2, time.Now()
	if err := w.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); len(active(t, address)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the alert stays after the attack's end")
		}
	}
}

func active(t *testing.T, address string) []any {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/v2/alerts?active=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out []any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// alertmanager starts one, without a cluster.
func alertmanager(t *testing.T) (address string) {
	t.Helper()
	path := sdktest.Program(t, "prometheus-alertmanager")
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route:\n  receiver: none\nreceivers:\n- name: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	var said bytes.Buffer
	cmd := exec.Command(path, "--config.file="+config, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return address
			}
		}
		if time.Now().After(end) {
			t.Fatalf("alertmanager does not come up: %v", err)
		}
	}
}

// The receiver of examples takes what is genuine, once, and nothing else.
func TestReceiver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, sdktest.Program(t, "/usr/bin/python3"), examples+"verify.py", "0")
	cmd.Env = []string{"SECRET=s3cret"}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }() // it was killed
	lines := bufio.NewScanner(stdout)
	line := func() string {
		if !lines.Scan() {
			t.Fatalf("the receiver has ended: %v", lines.Err())
		}
		return lines.Text()
	}
	var port int
	if _, err := fmt.Sscanf(line(), "listening on %d", &port); err != nil {
		t.Fatal(err)
	}
	c := defaults(fmt.Sprintf("http://127.0.0.1:%d/", port))
	c.Secret = "s3cret"
	good := build(t, c, "")
	c.Secret = "guess"
	bad := build(t, c, "")
	l, err := good.write(&[]sdk.Event{event(1, 1)}[0])
	if err != nil {
		t.Fatal(err)
	}
	if f := bad.post(t.Context(), l); f == nil || !strings.Contains(f.why, "403") {
		t.Errorf("a forged request: %v", f)
	}
	for range 2 {
		if f := good.post(t.Context(), l); f != nil {
			t.Error(f)
		}
	}
	second, err := good.write(&[]sdk.Event{event(1, 3)}[0])
	if err != nil {
		t.Fatal(err)
	}
	if f := good.post(t.Context(), second); f != nil {
		t.Error(f)
	}
	for _, want := range []string{"attack.started 203.0.113.1 attack000001", "attack.ended 203.0.113.1 attack000001"} {
		if got := line(); got != want {
			t.Errorf("the receiver says %q, want %q", got, want)
		}
	}
}

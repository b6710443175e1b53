package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// hook is a receiver of webhooks that takes nothing until it is open.
type hook struct {
	mu    sync.Mutex
	open  bool
	tried int
	keys  []string // of what it took
	kinds []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried++
	if !h.open {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	h.keys, h.kinds = append(h.keys, r.Header.Get("Idempotency-Key")), append(h.kinds, r.Header.Get("FastNetMon-Event"))
}

func (h *hook) look() (tried int, keys, kinds []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tried, slices.Clone(h.keys), slices.Clone(h.kinds)
}

const toldActions = `
action "webhook" "noc" {
  url   = %q
  retry = "100ms"
}

action "email" "noc" {
  server   = "127.0.0.1:%d"
  security = "none"
  from     = "fastnetmon@example.net"
  to       = ["noc@example.net"]
}
`

// What a web server and a mail server miss of an attack while they are away,
// they are told once they are back, each once and in order, also where the
// daemon has been stopped meanwhile. Detection waits for neither.
func TestServersAwayAreToldLater(t *testing.T) {
	dir := t.TempDir()
	attack, calm := filepath.Join(dir, "attack.pcap"), filepath.Join(dir, "calm.pcap")
	mustRun(t, "traffic", "--out", attack, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "4s", "--pps", "1000",
		"--attack", "syn_flood,target="+attackTarget+",pps=20000,start=1s,for=2s")
	mustRun(t, "traffic", "--out", calm, "--seed", "7", "--network", "203.0.113.0/24", "--duration", "1s", "--pps", "100")
	h, port, calls := &hook{}, sdktest.FreePort(t), filepath.Join(dir, "calls")
	web := httptest.NewServer(h)
	defer web.Close()
	config := liveConfig(t, attack, calls)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Replace(string(text), "[action.script.notify]", "[action.script.notify, action.webhook.noc, action.email.noc]", 1) + fmt.Sprintf(toldActions, web.URL, port)
	if err := os.WriteFile(config, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}

	l := start(t, "run", "--config", config)
	waitForLines(t, calls, 3, 40*time.Second, l) // ban, details, unban: the others held nothing up
	sdktest.Until(t, "the plugins say what waits", func() error {
		status := mustRun(t, "plugins", "--config", config).stdout
		for _, want := range []string{"events wait, the oldest since", "503 Service Unavailable", "events wait to be mailed", "connection refused"} {
			if !strings.Contains(status, want) {
				return fmt.Errorf("no %q in:\n%s", want, status)
			}
		}
		if tried, _, _ := h.look(); tried < 2 {
			return errors.New("the web server has not been tried twice")
		}
		return nil
	})
	l.stop(t)

	mails := filepath.Join(dir, "mails")
	sdktest.NewServer(t, sdktest.Answers(port), nil, "/usr/bin/python3", "-m", "aiosmtpd", "-n", "-l", fmt.Sprintf("127.0.0.1:%d", port), "-c", "aiosmtpd.handlers.Mailbox", mails)
	h.mu.Lock()
	h.open = true
	h.mu.Unlock()
	if err := os.WriteFile(config, []byte(strings.Replace(whole, attack, calm, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l = start(t, "run", "--config", config)
	sdktest.Until(t, "both are told", func() error {
		_, _, kinds := h.look()
		if !slices.Contains(kinds, "attack.ended") {
			return fmt.Errorf("the web server was told %q\n%s", kinds, l.stderr)
		}
		files, err := filepath.Glob(filepath.Join(mails, "new", "*"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no mail: %w\n%s", err, l.stderr)
		}
		return nil
	})
	l.stop(t)

	_, keys, kinds := h.look()
	if len(kinds) < 3 || kinds[0] != "attack.started" || kinds[len(kinds)-1] != "attack.ended" || slices.ContainsFunc(kinds[1:len(kinds)-1], func(k string) bool { return k != "attack.updated" }) {
		t.Errorf("the web server was told %q", kinds)
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Errorf("out of order, or one twice: %q", keys)
	}
	files, err := filepath.Glob(filepath.Join(mails, "new", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d mails, %v", len(files), err)
	}
	mail, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Subject: FastNetMon: 2 events", attackTarget + ": incoming syn_flood"} {
		if !strings.Contains(string(mail), want) {
			t.Errorf("no %q in the mail:\n%s", want, mail)
		}
	}
}

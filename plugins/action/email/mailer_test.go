package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func quoted(r io.Reader) io.Reader { return quotedprintable.NewReader(r) }

func healthy(t *testing.T, m *mailer) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); m.Health(t.Context()) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("health: %v", m.Health(t.Context()))
		}
	}
}

func unhealthy(t *testing.T, m *mailer, want string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := m.Health(t.Context()); err != nil && strings.Contains(err.Error(), want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("health: %v, want %q", m.Health(t.Context()), want)
		}
	}
}

// box is a server for a fast clock.
type box struct {
	mu    sync.Mutex
	down  bool
	mails []string
}

func (b *box) send(_ context.Context, m *gomail.Msg) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errors.New("connection refused")
	}
	var text strings.Builder
	if _, err := m.WriteTo(&text); err != nil {
		return err
	}
	b.mails = append(b.mails, text.String())
	return nil
}

func (b *box) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *box) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mails)
}

// A storm is a few mails and a digest, not ten thousand mails; so is what a
// server that was away missed, also over a restart.
func TestStorm(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		c := defaults("127.0.0.1:25")
		c.Burst, c.Every = 10, time.Minute
		m := build(t, c, dir)
		m.send = b.send
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 10000 {
			if err := m.Notify(t.Context(), event(i, 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		mails := b.all()
		if n := len(mails); n < 2 || n > 15 {
			t.Fatalf("%d mails", n)
		}
		// The queue is refilled while it is sent from, so how many go alone varies.
		alone := len(mails) - 1
		digest := strings.ReplaceAll(mails[alone], "=\r\n", "")
		rest := fmt.Sprintf("%d events more.", 10000-alone-maxLines)
		if !strings.Contains(digest, rest) || !strings.Contains(digest, fmt.Sprintf("(attack%06d)", alone)) || strings.Contains(digest, "(attack005000)") {
			t.Errorf("the digest:\n%.2000s", digest)
		}
		b.set(true)
		time.Sleep(20 * time.Minute)
		for i := range 30 {
			_ = m.Notify(t.Context(), event(i, 3)) // it has no error
			time.Sleep(time.Second)
		}
		if err := m.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "30 events wait") {
			t.Errorf("health: %v", err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.set(false)
		before := len(b.all())
		m = build(t, c, dir)
		m.send = b.send
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if after := b.all(); len(after) != before+1 || !strings.Contains(after[before], "30 events") {
			t.Errorf("%d mails after the restart: %.2000s", len(after)-before, after[before:])
		}
		if err := m.Health(t.Context()); err != nil {
			t.Errorf("health: %v", err)
		}
		_ = m.Close(t.Context()) // nothing waits
	})
}

func TestEvents(t *testing.T) {
	c := defaults("127.0.0.1:1")
	c.Events = []string{"attack.ended"}
	m := build(t, c, "")
	if err := m.Notify(t.Context(), event(1, 1)); err != nil || len(m.queue) > 0 {
		t.Errorf("%v, %d wait", err, len(m.queue))
	}
}

// Whoever is to decide about a mitigation that is held learns what and how.
func TestMitigations(t *testing.T) {
	m := build(t, defaults("127.0.0.1:1"), "")
	samples := message.Samples()
	held := samples[len(samples)-1]
	msg, err := m.set.mail(&held)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := msg.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(text.String(), "=\r\n", "")
	for _, want := range []string{
		"action.gobgp.edge.blackhole is held", "max_active", "fastnetmon held release 00aa11bb22cc33dd",
		"References: <fastnetmon.0123456789abcdef-1@example.net>", "<fastnetmon.00aa11bb22cc33dd-held-",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %q in\n%s", want, plain)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, x := range []struct {
		change func(*config)
		path   string
		want   string
	}{
		{func(c *config) { c.Server = "a b" }, "server", "neither a host"},
		{func(c *config) { c.Server = "mail:0" }, "server", "port"},
		{func(c *config) { c.Security = "ssl" }, "security", "starttls"},
		{func(c *config) { c.Auth = "ntlm" }, "auth", "cram-md5"},
		{func(c *config) { c.Username = "x" }, "username", "belong together"},
		{func(c *config) { c.Username, c.Password = "x", "hunter2" }, "security", "in the clear"},
		{func(c *config) { c.Helo = "a\r\nb" }, "helo", "name of a machine"},
		{func(c *config) { c.From = "nobody" }, "from", "no mail address"},
		{func(c *config) { c.To = nil }, "to", "at least one"},
		{func(c *config) { c.To = []string{"a@example.net\r\nBcc: b@example.net"} }, "to[0]", "no mail address"},
		{func(c *config) { c.Cc = []string{""} }, "cc[0]", "no mail address"},
		{func(c *config) { c.ReplyTo = "x" }, "reply_to", "no mail address"},
		{func(c *config) { c.Events = nil }, "events", "Leave events out"},
		{func(c *config) { c.Events = []string{"x"} }, "events[0]", "attack.started"},
		{func(c *config) { c.Attach = []string{"zip"} }, "attach[0]", "pcap"},
		{func(c *config) { c.AttachMost = 1 << 40 }, "attach_most", "64MiB"},
		{func(c *config) { c.Burst = 0 }, "burst", "1000"},
		{func(c *config) { c.Every = 0 }, "every", "1s"},
		{func(c *config) { c.Timeout = 0 }, "timeout", "1s"},
		{func(c *config) { c.Subject = "{{.x}}" }, "subject", "x"},
		{func(c *config) { c.Body = "{{" }, "body", "unclosed"},
		{func(c *config) { c.BodyFile = "/none" }, "body_file", "no such file"},
		{func(c *config) { c.Security, c.TLS = securityTLS, trusting(&smtpd{dir: "/none"}) }, "tls", "cannot be read"},
		{func(c *config) { c.TLS = trusting(&smtpd{dir: "/none"}) }, "tls", "no certificate is ever looked at"},
	} {
		c := defaults("mail.example.net")
		x.change(&c)
		_, err := read(c)
		if !slices.ContainsFunc(diag.FromError(err, ""), func(d diag.Diagnostic) bool {
			return d.Path.String() == x.path && strings.Contains(d.Summary+" "+d.Detail, x.want)
		}) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q in it", x.path, err, x.want)
		}
	}
	for _, security := range []string{securityStartTLS, securityTLS, securityNone} {
		c := defaults("mail.example.net")
		c.Security = security
		if s, err := read(c); err != nil || s.port != ports[security] {
			t.Errorf("%s: %v", security, err)
		}
	}
}

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), `
		server = "127.0.0.1:1"
		from   = "fastnetmon@example.net"
		to     = ["noc@example.net"]
	`)
}

package main

import (
	"io"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// A start and an end arrive as two mails that belong together; the text is the
// report.
func TestMail(t *testing.T) {
	s := newServer(t, securityNone)
	c := defaults(s.addr)
	c.Cc, c.ReplyTo, c.Helo = []string{"Öps <ops@example.net>"}, "duty@example.net", "sensor.example.net"
	m := start(t, c)
	first, last := event(1, 1), event(1, 3)
	for _, e := range []sdk.Event{first, last} {
		if err := m.Notify(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	r := s.next()
	got := r.parsed(t)
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if want := "FastNetMon: 203.0.113.5: incoming udp_flood, 131 kpackets/s"; subject != want || err != nil {
		t.Errorf("subject %q, want %q", subject, want)
	}
	if r.From != "fastnetmon@example.net" || strings.Join(r.To, " ") != "noc@example.net ops@example.net" || r.Helo != "sensor.example.net" || r.TLS {
		t.Errorf("%+v", r)
	}
	cc, err := got.Header.AddressList("Cc")
	if err != nil || cc[0].Name != "Öps" || got.Header.Get("Reply-To") == "" || got.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("headers %v, %v", got.Header, err)
	}
	if text := body(t, got); text != string(report.Text(&first)) {
		t.Errorf("text:\n%s", text)
	}
	again := s.next()
	if id := got.Header.Get("Message-Id"); id == "" || again.parsed(t).Header.Get("In-Reply-To") != id {
		t.Errorf("the end refers to %q, the start is %q", again.parsed(t).Header.Get("In-Reply-To"), id)
	}
}

// body is a mail's text, with the line ends of this system.
func body(t *testing.T, m *mail.Message) string {
	t.Helper()
	r := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		r = quoted(r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// Encryption and login, in each way, and what must not work.
func TestSecurity(t *testing.T) {
	for _, security := range []string{securityStartTLS, securityTLS, securityNone} {
		s := newServer(t, security)
		for _, auth := range []string{"", authPlain, authLogin, authCRAM} {
			c := defaults(s.addr)
			c.Security, c.TLS = security, trusting(s)
			want := map[string]string{authPlain: "PLAIN noc", authLogin: "LOGIN noc", authCRAM: "CRAM-MD5 noc"}[auth]
			if security == securityNone {
				c.TLS = nil
			}
			if auth != "" {
				c.Auth, c.Username, c.Password = auth, "noc", "s3cret"
			}
			if err := try(t, c); err != nil {
				t.Errorf("%s, %s: %v", security, auth, err)
				continue
			}
			if r := s.next(); r.TLS != (security != securityNone) || r.Login != want {
				t.Errorf("%s, %s: TLS %t, login %q", security, auth, r.TLS, r.Login)
			}
		}
		bad := defaults(s.addr)
		bad.Security, bad.Auth, bad.Username, bad.Password = security, authPlain, "noc", "guess"
		if security != securityNone {
			bad.TLS = trusting(s)
		}
		if err := try(t, bad); err == nil || strings.Contains(err.Error(), "guess") || refused(err) {
			t.Errorf("%s: a wrong password: %v", security, err)
		}
		if security == securityNone {
			bad = defaults(s.addr)
			bad.Security = securityStartTLS
			if err := try(t, bad); err == nil {
				t.Error("a server without STARTTLS was spoken to in the clear")
			}
			continue
		}
		for _, x := range []*delivery.TLS{nil, {CA: filepath.Join(s.dir, "cert.pem"), ServerName: "other.example.net"}} {
			bad = defaults(s.addr)
			bad.Security, bad.TLS = security, x
			if err := try(t, bad); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("%s: a server that cannot be trusted: %v", security, err)
			}
		}
	}
}

// try sends one mail as a person does who tries the action.
func try(t *testing.T, c config) error {
	t.Helper()
	e := event(1, 1)
	e.ID = sdk.TestPrefix + "1"
	return build(t, c, "").Notify(t.Context(), e)
}

// A server that is busy gets the mail later; one that refuses it is told of.
func TestRefusals(t *testing.T) {
	s := newServer(t, securityNone)
	s.busy(true)
	m := start(t, defaults(s.addr))
	if err := m.Notify(t.Context(), event(1, 1)); err != nil {
		t.Fatal(err)
	}
	unhealthy(t, m, "451")
	s.busy(false)
	s.next() // after retryFirst
	healthy(t, m)
	c := defaults(s.addr)
	c.To = []string{"refused@example.net"}
	m = start(t, c)
	if err := m.Notify(t.Context(), event(1, 1)); err != nil {
		t.Fatal(err)
	}
	unhealthy(t, m, "550")
	if len(s.got) > 0 {
		t.Error("a mail without a recipient was taken")
	}
}

// Nothing in an event, or in what the configuration's template makes of it,
// becomes a header or another recipient.
func TestInjection(t *testing.T) {
	s := newServer(t, securityNone)
	c := defaults(s.addr)
	c.Subject = "{{.label}} {{.hostgroup}}\r\nBcc: boss@example.net"
	e := event(1, 1)
	e.ID, e.Label, e.HostGroup = "x>\r\nBcc: id@example.net\r\n\r\n", "a\r\nBcc: label@example.net", "g\n\n.\r\nMAIL FROM:<x@example.net>"
	m := start(t, c)
	if err := m.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r := s.next()
	got := r.parsed(t)
	if got.Header.Get("Bcc") != "" || len(r.To) != 1 || strings.Contains(got.Header.Get("Message-Id"), "example.net\r") {
		t.Errorf("%+v\n%s", got.Header, r.Data)
	}
}

// Small files of the evidence go along, large and missing ones are named.
func TestAttachments(t *testing.T) {
	s := newServer(t, securityNone)
	dir := t.TempDir()
	pcap, text := filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.txt")
	for path, size := range map[string]int{pcap: 1000, text: 5000} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := defaults(s.addr)
	c.Attach, c.AttachMost = []string{attachPCAP, attachReport}, 2000
	m := start(t, c)
	e := event(1, 3)
	e.Evidence = &sdk.EvidenceReport{PCAP: pcap, Report: text}
	if err := m.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r := s.next()
	if !strings.Contains(r.Data, `filename="a.pcap"`) || strings.Contains(r.Data, `filename="a.txt"`) || !strings.Contains(r.Data, "Not attached: "+text) {
		t.Errorf("%s", r.Data)
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// smtpd is a real SMTP server.
type smtpd struct {
	t    *testing.T
	dir  string
	addr string
	got  chan received
}

// received is a mail as the server got it.
type received struct {
	From  string   `json:"from"`
	To    []string `json:"to"`
	Data  string   `json:"data"`
	TLS   bool     `json:"tls"`
	Login string   `json:"login"`
	Helo  string   `json:"helo"`
}

// parsed is the mail, read as a mail reader does.
func (r *received) parsed(t *testing.T) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(r.Data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const python = "/usr/bin/python3" // Debian's, with Debian's packages

func newServer(t *testing.T, security string) *smtpd {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import aiosmtpd").CombinedOutput(); err != nil {
		sdktest.Absent(t, fmt.Sprintf("aiosmtpd is not installed: .ci/install does so (%v, %s)", err, out))
	}
	s := &smtpd{t: t, dir: t.TempDir(), got: make(chan received, 10000)}
	sdktest.Certificate(t, s.dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(s.addr)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, python, "testdata/server.py", s.dir, security, port)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		if lines.Scan() {
			close(up)
		}
		for lines.Scan() {
			var r received
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				s.got <- r
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		<-ended
	})
	select {
	case <-up:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not come up")
	}
	return s
}

func (s *smtpd) busy(yes bool) {
	s.t.Helper()
	path := filepath.Join(s.dir, "busy")
	if !yes {
		_ = os.Remove(path) // it may not be there
		return
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *smtpd) next() received {
	s.t.Helper()
	select {
	case r := <-s.got:
		return r
	case <-time.After(30 * time.Second):
		s.t.Fatal("no mail came")
		return received{}
	}
}

// defaults are the plugin's, for a server that speaks no TLS.
func defaults(server string) config {
	return config{
		Server: server, Security: securityNone, Auth: authPlain, From: "FastNetMon <fastnetmon@example.net>", To: []string{"noc@example.net"},
		Subject: "FastNetMon: {{.title}}", Body: "{{.text}}", Events: eventTypes, Burst: 100, Every: time.Minute, Timeout: 10 * time.Second, AttachMost: 1 << 20,
	}
}

func build(t *testing.T, c config, dir string) *mailer {
	t.Helper()
	m, err := newMailer(c, sdk.Env{Logger: hclog.NewNullLogger(), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func start(t *testing.T, c config) *mailer {
	t.Helper()
	m := build(t, c, "")
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) }) // nothing is kept
	return m
}

// event is the n-th event of an attack.
func event(attack int, seq uint32) sdk.Event {
	e := message.Samples()[min(seq, 3)-1]
	e.ID, e.Seq, e.Evidence = fmt.Sprintf("attack%06d", attack), seq, nil
	return e
}

func trusting(s *smtpd) *delivery.TLS { return &delivery.TLS{CA: filepath.Join(s.dir, "cert.pem")} }

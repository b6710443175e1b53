package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

// newMail is a mail with all that is the same in each.
func (s *settings) newMail(subject, id string, at time.Time) *gomail.Msg {
	m := gomail.NewMsg()
	m.FromMailAddress(s.from)
	m.ToMailAddress(s.to...)
	m.CcMailAddress(s.cc...)
	if s.replyTo != nil {
		m.ReplyToMailAddress(s.replyTo)
	}
	m.SetUserAgent("FastNetMon " + version)
	m.Subject(strings.TrimSpace(message.Line(subject)))
	m.SetDateWithValue(at)
	m.SetMessageIDWithValue(s.messageID(id))
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it
	return m
}

// messageID names a mail; the same event is always the same mail.
func (s *settings) messageID(id string) string {
	_, domain, _ := strings.Cut(s.from.Address, "@")
	return "fastnetmon." + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, id) + "@" + domain
}

// mail is the mail of one event. Those of an attack refer to its first, so that
// readers show them together.
func (s *settings) mail(e *sdk.Event) (*gomail.Msg, error) {
	subject, err := s.subject.Render(e)
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	body, err := s.body.Render(e)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	m := s.newMail(string(subject), e.Key(), e.Time)
	if first := (&sdk.Event{ID: e.ID, Seq: 1}).Key(); e.ID != "" && e.Key() != first {
		for _, h := range []gomail.Header{gomail.HeaderInReplyTo, gomail.HeaderReferences} {
			m.SetGenHeader(h, "<"+s.messageID(first)+">")
		}
	}
	var notes []string
	for _, name := range s.Attach {
		if note := s.attach(m, e, name); note != "" {
			notes = append(notes, note)
		}
	}
	text := string(body)
	if len(notes) > 0 {
		text += "\n" + strings.Join(notes, "\n") + "\n"
	}
	m.SetBodyString(gomail.TypeTextPlain, text)
	return m, nil
}

// attach puts a file of the evidence into a mail; what it returns is to be said
// in the text.
func (s *settings) attach(m *gomail.Msg, e *sdk.Event, name string) (note string) {
	if e.Evidence == nil {
		return ""
	}
	path := map[string]string{attachPCAP: e.Evidence.PCAP, attachReport: e.Evidence.Report}[name]
	if path == "" {
		return ""
	}
	b, err := readFile(path, int64(s.AttachMost))
	if err == nil {
		err = m.AttachReader(filepath.Base(path), bytes.NewReader(b))
	}
	if err != nil {
		return fmt.Sprintf("Not attached: %s (%v)", path, err)
	}
	return ""
}

var errTooLarge = errors.New("it is larger than attach_most")

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no file"))
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = errTooLarge
	}
	return b, err
}

// digest is one mail of many events.
func (s *settings) digest(d *pending) *gomail.Msg {
	n := uint64(len(d.Lines)) + d.More
	m := s.newMail(fmt.Sprintf("FastNetMon: %d events", n), "digest-"+time.Now().UTC().Format("20060102T150405.000000000"), time.Now())
	var b strings.Builder
	fmt.Fprintf(&b, "More happened than there are mails for (at most %d at once, one more each %s).\n\n", s.Burst, s.Every)
	for _, line := range d.Lines {
		b.WriteString(line + "\n")
	}
	if d.More > 0 {
		fmt.Fprintf(&b, "… and %d events more.\n", d.More)
	}
	m.SetBodyString(gomail.TypeTextPlain, b.String())
	return m
}

// digestLine is an event in a digest.
func digestLine(e *sdk.Event) string {
	return e.Time.UTC().Format("2006-01-02 15:04:05Z ") + message.Title(e) + " (" + message.Line(e.ID) + ")"
}

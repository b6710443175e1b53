package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	gomail "github.com/wneessen/go-mail"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

const (
	maxLines   = 1000 // events that a digest lists; those beyond are counted
	retryFirst = 5 * time.Second
	retryMost  = 5 * time.Minute
	shownFor   = time.Hour // how long a mail that was refused makes the plugin unhealthy
)

// mailer mails events. Notify puts them aside, one goroutine sends them.
type mailer struct {
	set  *settings
	log  hclog.Logger
	file *hold.File
	send func(context.Context, *gomail.Msg) error // another in tests

	stop context.CancelFunc
	done chan struct{}
	wake chan struct{} // holds a token when there is something new

	mu        sync.Mutex
	queue     []sdk.Event // at most so many as have a mail of their own
	digest    pending     // the others
	last      error       // of the newest try; nil: it went well
	refused   uint64
	refusedAt time.Time
	why       string
}

// pending is what waits for a digest.
type pending struct {
	Lines []string `json:"lines"`
	More  uint64   `json:"more"`
}

func (p *pending) empty() bool { return len(p.Lines) == 0 && p.More == 0 }

func (p *pending) add(line string) {
	if len(p.Lines) >= maxLines {
		p.More++
		return
	}
	p.Lines = append(p.Lines, line)
}

func newMailer(c config, env sdk.Env) (*mailer, error) {
	set, err := read(c)
	if err != nil {
		return nil, err
	}
	m := &mailer{set: set, log: env.Logger, file: hold.NewFile(env.StateDir, "pending.json"), wake: make(chan struct{}, 1)}
	m.send = m.dial
	return m, nil
}

// Start takes up what was not mailed before the plugin ended: as a digest.
func (m *mailer) Start(context.Context) error {
	if err := m.file.Load(&m.digest); err != nil {
		m.log.Error("events that were to be mailed are lost", "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.done = cancel, make(chan struct{})
	m.nudge()
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
	return nil
}

// Close ends a mail that is under way and writes down what was not mailed.
func (m *mailer) Close(context.Context) error {
	m.stop()
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.queue {
		m.digest.add(digestLine(&m.queue[i]))
	}
	m.queue = nil
	if err := m.file.Save(m.digest); err != nil {
		return fmt.Errorf("%d events that were not mailed are lost: %w", len(m.digest.Lines), err)
	}
	return nil
}

func (m *mailer) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Notify takes an event; it does not wait for the server, unless a person tries
// the action and wants to see the answer.
func (m *mailer) Notify(ctx context.Context, e sdk.Event) error {
	if !slices.Contains(m.set.Events, string(e.Type)) {
		return nil
	}
	if strings.HasPrefix(e.ID, sdk.TestPrefix) {
		msg, err := m.set.mail(&e)
		if err != nil {
			return err
		}
		return m.send(ctx, msg)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) < m.set.Burst && m.digest.empty() {
		m.queue = append(m.queue, e)
	} else {
		m.digest.add(digestLine(&e))
	}
	m.nudge()
	return nil
}

// dial sends one mail.
func (m *mailer) dial(ctx context.Context, msg *gomail.Msg) error {
	client, err := m.set.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.set.Timeout)
	defer cancel()
	return client.DialAndSendWithContext(ctx, msg)
}

// run sends what waits, as fast as the limit allows, until ctx is done.
func (m *mailer) run(ctx context.Context) {
	tokens, filled := float64(m.set.Burst), time.Now()
	for {
		now := time.Now()
		tokens = min(float64(m.set.Burst), tokens+float64(now.Sub(filled))/float64(m.set.Every))
		filled = now
		msg, what := m.next()
		switch {
		case msg == nil:
			select {
			case <-m.wake:
			case <-ctx.Done():
				return
			}
			continue
		case tokens < 1:
			m.fold()
			if !sleep(ctx, time.Duration((1-tokens)*float64(m.set.Every))+time.Millisecond) {
				return
			}
			continue
		}
		if !m.try(ctx, msg) {
			return
		}
		what()
		tokens--
	}
}

// fold makes a digest of several events that have no mail to leave with soon.
func (m *mailer) fold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) < 2 {
		return
	}
	var all pending
	for i := range m.queue {
		all.add(digestLine(&m.queue[i]))
	}
	for _, line := range m.digest.Lines {
		all.add(line)
	}
	all.More += m.digest.More
	m.queue, m.digest = nil, all
}

// next is the mail that is due, and what to do once it is sent or given up. An
// event for which no mail can be written is given up here.
func (m *mailer) next() (msg *gomail.Msg, sent func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > 0 {
		msg, err := m.set.mail(&m.queue[0])
		if err == nil {
			return msg, func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.queue = m.queue[1:]
			}
		}
		m.lose("event "+m.queue[0].ID, err)
		m.queue = m.queue[1:]
	}
	if m.digest.empty() {
		return nil, nil
	}
	d := m.digest
	d.Lines = slices.Clone(d.Lines)
	return m.set.digest(&d), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.digest.Lines, m.digest.More = slices.Clone(m.digest.Lines[len(d.Lines):]), m.digest.More-d.More
	}
}

// try sends a mail until the server has taken or refused it; false means that
// ctx was done before.
func (m *mailer) try(ctx context.Context, msg *gomail.Msg) bool {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		err := m.send(ctx, msg)
		if err != nil && ctx.Err() != nil {
			return false
		}
		m.mu.Lock()
		m.last = err
		final := err != nil && refused(err)
		if final {
			m.last = nil
			m.lose("a mail", err)
		}
		m.mu.Unlock()
		if err == nil || final {
			return true
		}
		m.log.Warn("a mail was not taken, and is sent again", "again_in", pause, "error", err)
		if !sleep(ctx, pause) {
			return false
		}
	}
}

// refused reports whether the server will never take this mail: it said so, with
// a reply of 5xx to the mail itself. A login that fails may be put right.
func refused(err error) bool {
	var e *gomail.SendError
	return errors.As(err, &e) && !e.IsTemp() && e.ErrorCode() >= 500
}

// lose is called with the lock held.
func (m *mailer) lose(what string, err error) {
	m.refused++
	m.refusedAt, m.why = time.Now(), err.Error()
	m.log.Error("not mailed", "what", what, "error", err)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Health complains while the server does not take mail, and for an hour after it
// has refused one.
func (m *mailer) Health(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	if m.last != nil {
		errs = append(errs, fmt.Errorf("%d events wait to be mailed: %w", uint64(len(m.queue)+len(m.digest.Lines))+m.digest.More, m.last))
	}
	if !m.refusedAt.IsZero() && time.Since(m.refusedAt) < shownFor {
		errs = append(errs, fmt.Errorf("%d mails could not be sent, the last one at %s: %s", m.refused, m.refusedAt.UTC().Format(time.RFC3339), m.why))
	}
	return errors.Join(errs...)
}

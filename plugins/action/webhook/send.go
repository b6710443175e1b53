package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

const (
	maxAnswer     = 64 << 10 // octets of an answer that are read
	shownAnswer   = 200      // and shown
	maxRetryAfter = time.Hour
)

// newClient makes a client that goes where it is told and nowhere else: no
// proxy of the environment's, no redirect.
func newClient(s *settings) *http.Client {
	t := &http.Transport{
		TLSClientConfig:        s.tls,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    s.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    s.Timeout,
		MaxResponseHeaderBytes: maxAnswer,
	}
	if s.proxy != nil {
		t.Proxy = http.ProxyURL(s.proxy)
	}
	return &http.Client{
		Transport:     t,
		Timeout:       s.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// failure is a request that was not taken.
type failure struct {
	why   string
	final bool          // this body will never be taken
	after time.Duration // the server wants to be left alone for so long
}

func (f *failure) Error() string { return f.why }

// post sends a letter once.
func (w *webhook) post(ctx context.Context, l *letter) *failure {
	req, err := http.NewRequestWithContext(ctx, w.set.Method, w.set.url.String(), bytes.NewReader(l.Body))
	if err != nil {
		return &failure{why: w.discreet(err)}
	}
	for name, value := range w.set.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", w.set.ContentType)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "FastNetMon/"+version)
	}
	req.Header.Set("Idempotency-Key", l.Key)
	req.Header.Set("FastNetMon-Event", l.Event)
	if w.set.Secret != "" {
		req.Header.Set("FastNetMon-Signature", sign(w.set.Secret, time.Now(), l.Body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return &failure{why: w.discreet(err)}
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status is what counts
	return judge(resp, answer, time.Now())
}

// sign is the value of FastNetMon-Signature: the time, and the HMAC (SHA-256,
// RFC 2104) of the time, a dot and the body. With the time in it, a body that was
// overheard cannot be played again later.
func sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// final are the statuses by which a server says that it will never take this
// body. All else, such as a wrong address or a missing permission, may be put
// right, and then the events are wanted.
var final = map[int]bool{
	http.StatusBadRequest: true, http.StatusNotAcceptable: true, http.StatusGone: true, http.StatusRequestEntityTooLarge: true,
	http.StatusUnsupportedMediaType: true, http.StatusUnprocessableEntity: true,
}

// judge says what an answer means; nil is success. A 409 is one too: the
// server knows the idempotency key already.
func judge(resp *http.Response, answer []byte, now time.Time) *failure {
	code := resp.StatusCode
	if code >= 200 && code < 300 || code == http.StatusConflict {
		return nil
	}
	f := &failure{why: strings.TrimSpace(resp.Status), final: final[code]}
	if to := resp.Header.Get("Location"); to != "" && code >= 300 && code < 400 {
		f.why += " (redirects are not followed: put the right address into url)"
	}
	if text := strings.TrimSpace(message.Line(strings.ToValidUTF8(string(answer), "?"))); text != "" {
		f.why += ": " + text[:min(len(text), shownAnswer)]
	}
	f.after = retryAfter(resp.Header.Get("Retry-After"), now)
	return f
}

// retryAfter reads the header (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// discreet is an error without the URL, which may hold a secret.
func (w *webhook) discreet(err error) string {
	where := w.set.url.Scheme + "://" + w.set.url.Host
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s did not answer in %s", where, w.set.Timeout)
	}
	return where + ": " + err.Error()
}

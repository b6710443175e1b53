package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// What a request looks like: body, headers, signature.
func TestRequest(t *testing.T) {
	url, got := server(t, nil)
	c := defaults(url + "/hook?x=1")
	c.Secret, c.Headers = "s3cret", map[string]string{"Authorization": "Bearer abc"}
	w := start(t, c, "")
	e := event(7, 1)
	if err := w.Notify(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r := next(t, got)
	want, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.body) != string(want) || r.Method != "POST" || r.URL.RequestURI() != "/hook?x=1" {
		t.Errorf("%s %s: %s", r.Method, r.URL, r.body)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": "attack000007-1", "Fastnetmon-Event": "attack.started", "Authorization": "Bearer abc",
	} {
		if r.Header.Get(name) != value {
			t.Errorf("header %s is %q, want %q", name, r.Header.Get(name), value)
		}
	}
	at, mac, _ := strings.Cut(r.Header.Get("FastNetMon-Signature"), ",")
	at, mac = strings.TrimPrefix(at, "t="), strings.TrimPrefix(mac, "v1=")
	h := hmac.New(sha256.New, []byte("s3cret"))
	h.Write([]byte(at + "." + string(r.body)))
	if mac != hex.EncodeToString(h.Sum(nil)) {
		t.Errorf("the signature is %q", r.Header.Get("FastNetMon-Signature"))
	}
	if unix, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(unix, 0)).Abs() > time.Hour {
		t.Errorf("signed at %q", at)
	}
}

func TestEvents(t *testing.T) {
	url, got := server(t, nil)
	c := defaults(url)
	c.Events = []string{"attack.ended"}
	w := start(t, c, "")
	for seq := uint32(1); seq <= 3; seq++ {
		if err := w.Notify(t.Context(), event(1, seq)); err != nil {
			t.Fatal(err)
		}
	}
	if r := next(t, got); r.Header.Get("Idempotency-Key") != "attack000001-3" {
		t.Errorf("told of %s", r.Header.Get("Idempotency-Key"))
	}
}

// A mitigation that is held is told beside the attack's event of the same number,
// once for each state.
func TestMitigations(t *testing.T) {
	url, got := server(t, nil)
	w := start(t, defaults(url), "")
	held := event(1, 1)
	held.Type, held.Mitigation = sdk.MitigationChanged, &sdk.MitigationReport{ID: "m", State: sdk.MitigationHeld, Cause: "max_active", Time: time.Unix(1, 0)}
	failed := held
	failed.Mitigation = &sdk.MitigationReport{ID: "m", State: sdk.MitigationFailed, Cause: "no peer", Time: time.Unix(2, 0)}
	for _, e := range []sdk.Event{event(1, 1), held, held, failed, event(1, 2)} {
		if err := w.Notify(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"attack000001-1", "m-held-1000000000", "m-failed-2000000000", "attack000001-2"} {
		if r := next(t, got); r.Header.Get("Idempotency-Key") != want {
			t.Errorf("told of %s, want %s: %s", r.Header.Get("Idempotency-Key"), want, r.body)
		}
	}
}

// What each answer means.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status     int
		header     [2]string
		ok, final  bool
		retryAfter time.Duration
	}{
		{status: 200, ok: true},
		{status: 204, ok: true},
		{status: 409, ok: true},
		{status: 301, header: [2]string{"Location", "http://127.0.0.1:1/"}},
		{status: 400, final: true},
		{status: 401},
		{status: 404},
		{status: 413, final: true},
		{status: 422, final: true},
		{status: 429, header: [2]string{"Retry-After", "7"}, retryAfter: 7 * time.Second},
		{status: 500},
		{status: 503, header: [2]string{"Retry-After", "999999999"}, retryAfter: maxRetryAfter},
		{status: 503, header: [2]string{"Retry-After", "-5"}},
		{status: 503, header: [2]string{"Retry-After", "soon"}},
	} {
		url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.header[0] != "" {
				w.Header().Set(c.header[0], c.header[1])
			}
			w.WriteHeader(c.status)
			if c.status >= 400 {
				_, _ = w.Write([]byte("no\r\nwonder"))
			}
		})
		w := build(t, defaults(url), "")
		f := w.post(t.Context(), &letter{Key: "k", Event: "attack.started", Body: []byte("{}")})
		if (f == nil) != c.ok {
			t.Errorf("%d: %v", c.status, f)
		}
		if f != nil && (f.final != c.final || f.after != c.retryAfter || !strings.Contains(f.why, strconv.Itoa(c.status)) || strings.ContainsAny(f.why, "\r\n")) {
			t.Errorf("%d: %+v", c.status, f)
		}
	}
	at := time.Now().UTC().Truncate(time.Second)
	if d := retryAfter(at.Add(90*time.Second).Format(http.TimeFormat), at); d != 90*time.Second {
		t.Errorf("a date in Retry-After: %v", d)
	}
}

// A refused event does not hold up the next, and is told of.
func TestRefused(t *testing.T) {
	url, got := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "attack000001-1" {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	dir := t.TempDir()
	c := defaults(url)
	c.Concurrency = 1
	w := start(t, c, dir)
	for seq := uint32(1); seq <= 2; seq++ {
		if err := w.Notify(t.Context(), event(1, seq)); err != nil {
			t.Fatal(err)
		}
	}
	next(t, got)
	if r := next(t, got); r.Header.Get("Idempotency-Key") != "attack000001-2" {
		t.Errorf("told of %s", r.Header.Get("Idempotency-Key"))
	}
	wantDead(t, dir, 1, "attack000001-1")
	if err := w.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "1 refused") || !strings.Contains(err.Error(), "422") {
		t.Errorf("health: %v", err)
	}
}

// A person who tries the action gets the answer.
func TestTrial(t *testing.T) {
	status := http.StatusOK
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	w := start(t, defaults(url), "")
	e := event(1, 1)
	e.ID = sdk.TestPrefix + "1"
	if err := w.Notify(t.Context(), e); err != nil {
		t.Error(err)
	}
	status = http.StatusForbidden
	if err := w.Notify(t.Context(), e); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("error %v", err)
	}
}

// Errors show neither path nor query: there are tokens in them.
func TestDiscretion(t *testing.T) {
	c := defaults("http://user:hunter2@127.0.0.1:1/bot12345:token/send?key=topsecret")
	c.Timeout = time.Second
	w := build(t, c, "")
	f := w.post(t.Context(), &letter{})
	for _, secret := range []string{"hunter2", "12345", "topsecret"} {
		if f == nil || strings.Contains(f.why, secret) {
			t.Errorf("%v", f)
		}
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	url, _ := server(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	c := defaults(url)
	c.Timeout = 100 * time.Millisecond
	w := build(t, c, "")
	if f := w.post(t.Context(), &letter{}); f == nil || !strings.Contains(f.why, "did not answer in 100ms") {
		t.Errorf("%v", f)
	}
}

// The environment's proxy is not used, the configuration's is.
func TestProxy(t *testing.T) {
	proxy, viaProxy := server(t, nil)
	url, got := server(t, nil)
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	if f := build(t, defaults(url), "").post(t.Context(), &letter{Body: []byte("1")}); f != nil {
		t.Error(f)
	}
	next(t, got)
	c := defaults("http://store.example/x")
	c.Proxy = proxy
	if f := build(t, c, "").post(t.Context(), &letter{Body: []byte("2")}); f != nil {
		t.Error(f)
	}
	if r := next(t, viaProxy); r.RequestURI != "http://store.example/x" {
		t.Errorf("the proxy was asked for %s", r.RequestURI)
	}
}

// TLS: the server's certificate is checked, ours is shown, old versions are refused.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := sdktest.Certificate(t, dir)
	got := make(chan request, 10)
	s := httptest.NewUnstartedServer(keep(got, nil))
	s.Config.ErrorLog = nil
	pool := x509.NewCertPool()
	own, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(own)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	good := defaults(s.URL)
	good.TLS = &delivery.TLS{CA: ca, Cert: cert, Key: key}
	for _, c := range []struct {
		name   string
		change func(*config)
		want   string
	}{
		{"good", func(*config) {}, ""},
		{"unknown authority", func(c *config) { c.TLS = &delivery.TLS{Cert: cert, Key: key} }, "certificate"},
		{"no certificate of ours", func(c *config) { c.TLS = &delivery.TLS{CA: ca} }, "tls: "},
		{"wrong name", func(c *config) { c.TLS = &delivery.TLS{CA: ca, Cert: cert, Key: key, ServerName: "other.example.org"} }, "other.example.org"},
		{"too old", func(c *config) { c.MinTLS = "1.3" }, "protocol version"},
	} {
		conf := good
		c.change(&conf)
		f := build(t, conf, "").post(t.Context(), &letter{Body: []byte("x")})
		if (f == nil) != (c.want == "") || f != nil && !strings.Contains(f.why, c.want) {
			t.Errorf("%s: %v", c.name, f)
		}
	}
}

package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

// config is the plugin's block.
type config struct {
	URL         string            `hcl:"url,sensitive" doc:"where to: http:// or https://"`
	Method      string            `hcl:"method,optional" doc:"POST (unless set), PUT or PATCH"`
	ContentType string            `hcl:"content_type,optional" doc:"of the body; application/json unless set"`
	Headers     map[string]string `hcl:"headers,optional,sensitive" doc:"further headers, such as Authorization"`
	Secret      string            `hcl:"secret,optional,sensitive" doc:"key of the signature in FastNetMon-Signature; none unless set"`
	Body        string            `hcl:"body,optional" doc:"template of the body; the event as JSON unless set"`
	BodyFile    string            `hcl:"body_file,optional" doc:"file with the template"`
	Variables   map[string]string `hcl:"variables,optional,sensitive" doc:"what the template finds as .variables"`
	Events      []string          `hcl:"events,optional" doc:"what is told: attack.started, attack.updated, attack.ended, mitigation.changed; all unless set"`
	Timeout     time.Duration     `hcl:"timeout,optional" doc:"of one request; 10s unless set"`
	Retry       time.Duration     `hcl:"retry,optional" doc:"pause after a failure, doubled with each one; 1s unless set"`
	RetryMost   time.Duration     `hcl:"retry_most,optional" doc:"longest such pause; 1m unless set"`
	MaxAge      time.Duration     `hcl:"max_age,optional" doc:"events that are older are given up; 24h unless set"`
	Spool       sdk.Size          `hcl:"spool_size,optional" doc:"space on disk for events that wait; the oldest go when it is full; 64MiB unless set"`
	Concurrency int               `hcl:"concurrency,optional" doc:"requests at the same time; those of one attack come one after the other; 4 unless set"`
	Proxy       string            `hcl:"proxy,optional,sensitive" doc:"http://, https:// or socks5:// proxy; the environment's is not used"`
	TLS         *delivery.TLS     `hcl:"tls,block" doc:"certificates"`
	MinTLS      string            `hcl:"min_tls_version,optional" doc:"1.2 (unless set) or 1.3"`
}

var eventTypes = []string{string(sdk.AttackStarted), string(sdk.AttackUpdated), string(sdk.AttackEnded), string(sdk.MitigationChanged)}

// ownHeaders is the prefix of the headers that are ours to set.
const ownHeaders = "Fastnetmon-"

// checker gathers what is wrong with a configuration.
type checker struct{ ds diag.Diagnostics }

func (c *checker) fail(attr, summary, detail string, args ...any) {
	c.ds = append(c.ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
}

func (c *checker) duration(attr string, d, low, high time.Duration) {
	if d < low || d > high {
		c.fail(attr, "Duration out of range", "%s is not between %s and %s.", d, low, high)
	}
}

// settings is a configuration, read.
type settings struct {
	config
	url      *url.URL
	proxy    *url.URL
	tls      *tls.Config
	template *message.Template // nil: the event as JSON
}

// read checks a configuration. It reads files and opens nothing.
func read(c config) (*settings, error) {
	s, k := &settings{config: c}, &checker{}
	s.url = k.url("url", c.URL, "http", "https")
	if c.Proxy != "" {
		s.proxy = k.url("proxy", c.Proxy, "http", "https", "socks5")
	}
	if !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, c.Method) {
		k.fail("method", "Unknown method", "%q is none of POST, PUT and PATCH.", c.Method)
	}
	if !httpguts.ValidHeaderFieldValue(c.ContentType) || c.ContentType == "" {
		k.fail("content_type", "Bad content type", "%q cannot stand in a header.", c.ContentType)
	}
	k.headers(c.Headers)
	for i, e := range c.Events {
		if !slices.Contains(eventTypes, e) {
			k.ds = append(k.ds, diag.Errorf(diag.Path{}.Attr("events").Index(i), "Unknown event", "%q is none of %s.", e, strings.Join(eventTypes, ", ")))
		}
	}
	if len(c.Events) == 0 {
		k.fail("events", "No events", "Nothing would ever be told. Leave events out to have all.")
	}
	k.duration("timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
	k.duration("retry", c.Retry, 100*time.Millisecond, time.Hour)
	k.duration("retry_most", c.RetryMost, c.Retry, 24*time.Hour)
	k.duration("max_age", c.MaxAge, time.Minute, 30*24*time.Hour)
	if c.Spool < 1<<20 || c.Spool > 1<<40 {
		k.fail("spool_size", "Size out of range", "%d octets are not between 1MiB and 1TiB.", uint64(c.Spool))
	}
	if c.Concurrency < 1 || c.Concurrency > 64 {
		k.fail("concurrency", "Number out of range", "%d is not between 1 and 64.", c.Concurrency)
	}
	k.tls(s)
	k.template(s)
	return s, k.ds.Err()
}

func (c *checker) url(attr, text string, schemes ...string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		c.fail(attr, "Bad URL", "It has to begin with %s:// and name a host. (It is not shown, since it may hold a secret.)", strings.Join(schemes, ":// or "))
		return &url.URL{}
	}
	return u
}

func (c *checker) headers(headers map[string]string) {
	for name, value := range headers {
		at := diag.Path{}.Attr("headers").Key(name)
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			c.ds = append(c.ds, diag.Errorf(at, "Bad header", "The name %q or its value cannot stand in a header.", name))
		case strings.HasPrefix(canonical, ownHeaders) || slices.Contains([]string{"Content-Type", "Content-Length", "Transfer-Encoding", "Idempotency-Key", "Connection"}, canonical):
			c.ds = append(c.ds, diag.Errorf(at, "Header that is ours", "%s is set by the plugin itself.", canonical))
		}
	}
}

func (c *checker) tls(s *settings) {
	c.ds = append(c.ds, s.TLS.Check(diag.Path{}.Attr("tls"))...)
	conf, err := s.TLS.Config()
	if err != nil {
		c.fail("tls", "Certificates cannot be used", "%v.", err)
	}
	if s.tls = conf; conf == nil {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch s.MinTLS {
	case "", "1.2":
	case "1.3":
		s.tls.MinVersion = tls.VersionTLS13
	default:
		c.fail("min_tls_version", "Unknown version", `%q is neither "1.2" nor "1.3".`, s.MinTLS)
	}
}

// template reads the template and tries it.
func (c *checker) template(s *settings) {
	attr, text := "body", s.Body
	switch {
	case s.Body != "" && s.BodyFile != "":
		c.fail("body_file", "Two templates", "Write body or body_file, not both.")
		return
	case s.BodyFile != "":
		b, err := os.ReadFile(s.BodyFile)
		if err != nil {
			c.fail("body_file", "File cannot be read", "%v.", err)
			return
		}
		attr, text = "body_file", string(b)
	case s.Body == "":
		if len(s.Variables) > 0 {
			c.fail("variables", "No template", "Only templates use variables: write body or body_file.")
		}
		return
	}
	t, err := message.Parse(text, s.Variables)
	if err == nil {
		err = t.Check(s.acceptable)
	}
	if err != nil {
		c.fail(attr, "Template does not work", "%v.", err)
	}
	s.template = t
}

// acceptable wants JSON to be JSON.
func (s *settings) acceptable(body []byte) error {
	kind, _, _ := strings.Cut(s.ContentType, ";")
	if kind = strings.TrimSpace(kind); kind != "application/json" && !strings.HasSuffix(kind, "+json") || json.Valid(body) {
		return nil
	}
	var v any
	err := json.Unmarshal(body, &v)
	at := len(body)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		at = int(syntax.Offset)
	}
	return fmt.Errorf("what comes out is no JSON (%w) here: …%s…", err, body[max(0, at-40):min(len(body), at+20)])
}

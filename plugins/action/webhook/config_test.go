package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	cert, key := sdktest.Certificate(t, dir)
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*config)
		path   string
		want   string
	}{
		{func(c *config) { c.URL = "ftp://example.net/hunter2" }, "url", "http:// or https://"},
		{func(c *config) { c.URL = "https:///x" }, "url", "name a host"},
		{func(c *config) { c.Proxy = "example.net" }, "proxy", "socks5://"},
		{func(c *config) { c.Method = "GET" }, "method", `"GET"`},
		{func(c *config) { c.ContentType = "a\nb" }, "content_type", "header"},
		{func(c *config) { c.Headers = map[string]string{"X-A": "a\r\nX-B: b"} }, `headers["X-A"]`, "cannot stand in a header"},
		{func(c *config) { c.Headers = map[string]string{"a b": "x"} }, `headers["a b"]`, "cannot stand in a header"},
		{func(c *config) { c.Headers = map[string]string{"idempotency-key": "x"} }, `headers["idempotency-key"]`, "the plugin itself"},
		{func(c *config) { c.Headers = map[string]string{"fastnetmon-signature": "x"} }, `headers["fastnetmon-signature"]`, "the plugin itself"},
		{func(c *config) { c.Events = []string{"attack.begun"} }, "events[0]", "attack.started"},
		{func(c *config) { c.Events = []string{} }, "events", "Leave events out"},
		{func(c *config) { c.Timeout = 0 }, "timeout", "100ms"},
		{func(c *config) { c.Retry = 0 }, "retry", "100ms"},
		{func(c *config) { c.RetryMost = 50 * time.Millisecond }, "retry_most", "100ms"},
		{func(c *config) { c.MaxAge = time.Second }, "max_age", "1m"},
		{func(c *config) { c.Spool = 5 }, "spool_size", "1MiB"},
		{func(c *config) { c.Concurrency = 0 }, "concurrency", "between 1 and 64"},
		{func(c *config) { c.MinTLS = "1.0" }, "min_tls_version", `"1.3"`},
		{func(c *config) { c.TLS = &delivery.TLS{CA: empty} }, "tls", "no certificate"},
		{func(c *config) { c.TLS = &delivery.TLS{CA: "/none"} }, "tls", "no such file"},
		{func(c *config) { c.TLS = &delivery.TLS{Cert: cert} }, "tls", "belong together"},
		{func(c *config) { c.TLS = &delivery.TLS{Cert: key, Key: cert} }, "tls", "PEM"},
		{func(c *config) { c.Body, c.BodyFile = "{}", empty }, "body_file", "not both"},
		{func(c *config) { c.BodyFile = "/none" }, "body_file", "no such file"},
		{func(c *config) { c.Body = `{"a": {{.target}}}` }, "body", "no JSON"},
		{func(c *config) { c.Body = `{{.tarjet}}` }, "body", "tarjet"},
		{func(c *config) { c.Variables = map[string]string{"a": "b"} }, "variables", "No template"},
	} {
		conf := defaults("https://example.net/hunter2")
		c.change(&conf)
		_, err := read(conf)
		ds := diag.FromError(err, "")
		if len(ds) == 0 || !slices.ContainsFunc(ds, func(d diag.Diagnostic) bool {
			return d.Path.String() == c.path && strings.Contains(d.Summary+" "+d.Detail, c.want)
		}) {
			t.Errorf("%s: %v, want %q in it", c.path, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	good := defaults("https://example.net/")
	good.Body, good.ContentType = "{{.title}}", "text/plain"
	if _, err := read(good); err != nil {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), `url = "http://127.0.0.1:1/"`)
}

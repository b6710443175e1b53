package main

import (
	"context"
	"net/url"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	URL      string          `hcl:"url,optional" doc:"of the server; http://127.0.0.1:8086 unless set"`
	Version  int             `hcl:"version,optional" doc:"1 or 2: how the server is written to; 1 unless set"`
	Database string          `hcl:"database,optional" doc:"version 1: fastnetmon unless set"`
	User     string          `hcl:"user,optional" doc:"version 1: where the server asks for one"`
	Password string          `hcl:"password,optional,sensitive" doc:"version 1: of user"`
	Org      string          `hcl:"org,optional" doc:"version 2: the organization"`
	Bucket   string          `hcl:"bucket,optional" doc:"version 2: fastnetmon unless set"`
	Token    string          `hcl:"token,optional,sensitive" doc:"version 2: that may write to the bucket"`
	Gzip     bool            `hcl:"gzip,optional" doc:"whether bodies are compressed; true unless set"`
	Layout   string          `hcl:"layout,optional" doc:"native, or fastnetmon for the measurements of FastNetMon Community; native unless set"`
	TLS      *delivery.TLS   `hcl:"tls,block"`
	Delivery delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{
		URL: "http://127.0.0.1:8086", Version: 1, Database: "fastnetmon", Bucket: "fastnetmon", Gzip: true,
		Layout: delivery.LayoutNative, Delivery: delivery.Defaults(),
	}
}

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	c := &e.cfg
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		fail("url", "Bad URL", `Write the server's URL without the path of an API, such as "http://127.0.0.1:8086" or "https://influx.example.net".`)
	case u.User != nil:
		fail("url", "Password in the URL", "Errors show the URL: write user and password as attributes.")
	case c.TLS != nil && u.Scheme == "http":
		fail("tls", "TLS without https", "The block tls is there, but url begins with http://. Write https://.")
	}
	switch c.Version {
	case 1:
		if c.Database == "" {
			fail("database", "No database", "database is empty.")
		}
		if c.Token != "" || c.Org != "" {
			fail("version", "Attributes of version 2", "token and org are for version = 2; version 1 has user and password.")
		}
	case 2:
		if c.Bucket == "" {
			fail("bucket", "No bucket", "bucket is empty.")
		}
		if c.User != "" || c.Password != "" {
			fail("version", "Attributes of version 1", "user and password are for version = 1; version 2 has token.")
		}
	default:
		fail("version", "Unknown version", "%d is neither 1 nor 2. InfluxDB 3 is written to as version 2.", c.Version)
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	ds = append(ds, c.TLS.Check(diag.Path{}.Attr("tls"))...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

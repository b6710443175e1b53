package main

import (
	"context"
	"net"
	"regexp"
	"strconv"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	Address  string          `hcl:"address,optional" doc:"host and port of the native protocol; 127.0.0.1:9000 unless set"`
	Database string          `hcl:"database,optional" doc:"made if it is not there; fastnetmon unless set"`
	User     string          `hcl:"user,optional" doc:"default unless set"`
	Password string          `hcl:"password,optional,sensitive" doc:"of user"`
	Days     int             `hcl:"days,optional" doc:"how long rows are kept in tables that are made; 7 unless set"`
	Layout   string          `hcl:"layout,optional" doc:"native, or fastnetmon for the tables of FastNetMon Community; native unless set"`
	TLS      *delivery.TLS   `hcl:"tls,block"`
	Delivery delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{Address: "127.0.0.1:9000", Database: "fastnetmon", User: "default", Days: 7, Layout: delivery.LayoutNative, Delivery: delivery.Defaults()}
}

var nameShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	c := &e.cfg
	host, port, err := net.SplitHostPort(c.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		fail("address", "Bad address", `%q is no host with a port. Write that of the native protocol, such as "127.0.0.1:9000"; with TLS it is mostly 9440.`, c.Address)
	}
	if !nameShape.MatchString(c.Database) {
		fail("database", "Bad name", "%q cannot name a database here: use letters, digits and _.", c.Database)
	}
	if c.Days < 1 || c.Days > 36500 {
		fail("days", "Value out of range", "%d is not between 1 and 36500.", c.Days)
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	ds = append(ds, c.TLS.Check(diag.Path{}.Attr("tls"))...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

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
	Address  string          `hcl:"address,optional" doc:"host and port of carbon; 127.0.0.1:2003 unless set"`
	Protocol string          `hcl:"protocol,optional" doc:"plaintext or pickle, which has a port of its own; plaintext unless set"`
	Prefix   string          `hcl:"prefix,optional" doc:"first part of every path; fastnetmon unless set"`
	Layout   string          `hcl:"layout,optional" doc:"native, or fastnetmon for the paths of FastNetMon Community; native unless set"`
	Delivery delivery.Config `hcl:"delivery,block,optional"`
}

// The protocols.
const (
	plaintext = "plaintext"
	pickled   = "pickle"
)

func defaults() config {
	return config{Address: "127.0.0.1:2003", Protocol: plaintext, Prefix: "fastnetmon", Layout: delivery.LayoutNative, Delivery: delivery.Defaults()}
}

var prefixShape = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	c := &e.cfg
	host, port, err := net.SplitHostPort(c.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr("address"), "Bad address", `%q is no host with a port. Write one such as "127.0.0.1:2003".`, c.Address))
	}
	if c.Protocol != plaintext && c.Protocol != pickled {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr("protocol"), "Unknown protocol", "%q is neither %q nor %q.", c.Protocol, plaintext, pickled))
	}
	if !prefixShape.MatchString(c.Prefix) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr("prefix"), "Bad prefix", "%q cannot begin a path: use letters, digits, - and _, and dots between parts.", c.Prefix))
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

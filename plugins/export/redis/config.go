package main

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	Address   string          `hcl:"address,optional" doc:"host and port; 127.0.0.1:6379 unless set"`
	Socket    string          `hcl:"socket,optional" doc:"path of a unix socket, instead of address"`
	User      string          `hcl:"user,optional" doc:"of Redis's access control list"`
	Password  string          `hcl:"password,optional,sensitive" doc:"of user, or the one of requirepass"`
	Database  int             `hcl:"database,optional" doc:"number of the database; 0 unless set"`
	Prefix    string          `hcl:"prefix,optional" doc:"of every key; fastnetmon unless set, in layout fastnetmon none"`
	Layout    string          `hcl:"layout,optional" doc:"native, or fastnetmon for the keys of FastNetMon Community; native unless set"`
	Keep      time.Duration   `hcl:"keep,optional" doc:"how long an attack is kept after its last event; 24h unless set"`
	MaxEvents int             `hcl:"max_events,optional" doc:"how many events the stream keeps, about; 10000 unless set"`
	TLS       *delivery.TLS   `hcl:"tls,block"`
	Delivery  delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{Address: "127.0.0.1:6379", Layout: delivery.LayoutNative, Keep: 24 * time.Hour, MaxEvents: 10_000, Delivery: delivery.Defaults()}
}

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	c := &e.cfg
	host, port, err := net.SplitHostPort(c.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		fail("address", "Bad address", `%q is no host with a port. Write one such as "127.0.0.1:6379".`, c.Address)
	}
	if c.Socket != "" && c.TLS != nil {
		fail("tls", "TLS on a socket", "A unix socket has no TLS: remove the block, or socket.")
	}
	if c.Database < 0 || c.Database > 1_000_000 {
		fail("database", "Value out of range", "%d is no number of a database.", c.Database)
	}
	if c.Keep < time.Second {
		fail("keep", "Value out of range", "%s is shorter than a second.", c.Keep)
	}
	if c.MaxEvents < 1 || c.MaxEvents > 100_000_000 {
		fail("max_events", "Value out of range", "%d is not between 1 and 100000000.", c.MaxEvents)
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	ds = append(ds, c.TLS.Check(diag.Path{}.Attr("tls"))...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

package main

import (
	"context"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	Path      string          `hcl:"path" doc:"of the file; its directory must be there"`
	Snapshots bool            `hcl:"snapshots,optional" doc:"whether rates are written, a line a period; true unless set"`
	Events    bool            `hcl:"events,optional" doc:"whether attacks and mitigations are written; true unless set"`
	MaxSize   sdk.Size        `hcl:"max_size,optional" doc:"a larger file is put aside; 100MiB unless set, 0 for never"`
	MaxAge    time.Duration   `hcl:"max_age,optional" doc:"an older file is put aside; never unless set"`
	Keep      int             `hcl:"keep,optional" doc:"how many files put aside are kept; 7 unless set"`
	Layout    string          `hcl:"layout,optional" doc:"native, or fastnetmon for FastNetMon Community's document of each attack; native unless set"`
	Delivery  delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{Snapshots: true, Events: true, MaxSize: 100 << 20, Keep: 7, Layout: delivery.LayoutNative, Delivery: delivery.Defaults()}
}

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	c := &e.cfg
	if c.Path == "" {
		fail("path", "No file", "path is empty: name the file that lines are appended to.")
	}
	if !c.Snapshots && !c.Events {
		fail("events", "Nothing to write", "snapshots and events are both false.")
	}
	if c.MaxSize != 0 && c.MaxSize < 64<<10 {
		fail("max_size", "Value out of range", "%d bytes are less than 64KiB; 0 is for a file that grows without end.", uint64(c.MaxSize))
	}
	if c.MaxAge != 0 && c.MaxAge < time.Second {
		fail("max_age", "Value out of range", "%s is shorter than a second.", c.MaxAge)
	}
	if c.Keep < 0 || c.Keep > 10_000 {
		fail("keep", "Value out of range", "%d is not between 0 and 10000.", c.Keep)
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

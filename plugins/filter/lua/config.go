package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// The engines.
const (
	engineLuaJIT = "luajit"
	engineGopher = "gopher-lua"
)

const maxClasses = 64

type config struct {
	Script   string        `hcl:"script" doc:"file with the script; read again when it changes"`
	Memory   sdk.Size      `hcl:"memory,optional" doc:"what the script may hold for each worker of each capture"`
	Deadline time.Duration `hcl:"deadline,optional" doc:"a batch that takes longer ends the process"`
	Engine   string        `hcl:"engine,optional" doc:"luajit or gopher-lua; without it LuaJIT where the plugin was built with it"`
}

// check holds what the schema cannot.
func (c *config) check() (ds diag.Diagnostics) {
	attr := diag.Path{}.Attr
	switch c.Engine {
	case "", engineLuaJIT, engineGopher:
	default:
		ds = append(ds, diag.Errorf(attr("engine"), "Unknown engine", "engine is %q; write %q or %q, or leave it out.", c.Engine, engineLuaJIT, engineGopher))
	}
	if c.Memory < 1<<20 || c.Memory > 4<<30 {
		ds = append(ds, diag.Errorf(attr("memory"), "Too little or too much memory", "memory must be from 1 MiB to 4 GiB."))
	}
	if c.Deadline < 10*time.Millisecond || c.Deadline > time.Minute {
		ds = append(ds, diag.Errorf(attr("deadline"), "Deadline out of bounds", "deadline is %v; it must be from 10ms to 1m.", c.Deadline))
	}
	return ds
}

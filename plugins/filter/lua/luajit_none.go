//go:build !luajit || !cgo

package main

import (
	"context"
	"errors"
)

// engineName is the engine that scripts run on where none is asked for.
const engineName = engineGopher

func newLuaJIT(context.Context, *script, *host, uint64) (engine, error) {
	return nil, errors.New("this plugin was built without LuaJIT: build it where pkg-config finds luajit, or remove engine")
}

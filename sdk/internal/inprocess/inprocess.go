// Package inprocess lets the test harness serve a plugin without a process of
// its own. Package sdk fills it in: the harness cannot reach its insides.
package inprocess

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

// Plugin is a plugin that can be served.
type Plugin struct {
	Options  []grpc.ServerOption
	Register func(*grpc.Server)
	Drain    func(context.Context) error
}

// Open makes an sdk.Plugin servable. Descriptors of rings come over rings,
// which may be nil; the plugin owns it.
var Open func(plugin any, logger hclog.Logger, rings *os.File) (*Plugin, error)

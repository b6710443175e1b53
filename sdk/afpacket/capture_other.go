//go:build !linux

package afpacket

import (
	"context"
	"errors"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// Supported reports whether this system has packet sockets.
const Supported = false

var errUnsupported = errors.New("packet sockets are Linux's: use the capture pcap, built with libpcap, on other systems")

// Capture is the capture of some interfaces; on this system it cannot be
// started.
type Capture struct{}

// New makes a Capture.
func New(Options) *Capture { return &Capture{} }

// Missing says that interfaces cannot be captured.
func Missing(string) error { return errUnsupported }

// Workers is how often Run is to be called.
func (*Capture) Workers() int { return 1 }

// Start fails.
func (*Capture) Start(context.Context) error { return errUnsupported }

// Close does nothing.
func (*Capture) Close(context.Context) error { return nil }

// Run fails.
func (*Capture) Run(context.Context, *sdk.Writer) error { return errUnsupported }

// Health fails.
func (*Capture) Health(context.Context) error { return errUnsupported }

// Sample gives nothing.
func (*Capture) Sample(context.Context, sdk.SampleRequest, func(sdk.Sample) error) error { return nil }

// Table has nothing.
func (*Capture) Table(string) (sdk.Rows, error) { return sdk.Rows{}, nil }

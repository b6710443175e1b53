// Command export-hello is the smallest export: it appends one line of JSON to
// a file for each period and each event.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

type config struct {
	File string `hcl:"file" doc:"lines are appended to it"`
}

type hello struct {
	name string
	file *os.File
}

func build(c config, _ sdk.Env) (*hello, error) { return &hello{name: c.File}, nil }

// Start opens what build must not: build also runs when a configuration is
// only checked.
func (h *hello) Start(context.Context) (err error) {
	h.file, err = os.OpenFile(h.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return err
}

func (h *hello) Close(context.Context) error { return h.file.Close() }

// Export is called once each period with the rates of that moment.
func (h *hello) Export(_ context.Context, s sdk.Snapshot) error {
	return json.NewEncoder(h.file).Encode(map[string]any{"time": s.Time, "totals": s.Totals, "hosts": s.Hosts})
}

// Events is called with the events since the last call.
func (h *hello) Events(_ context.Context, events []sdk.Event) error {
	for _, e := range events {
		if err := json.NewEncoder(h.file).Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func main() { sdk.Serve(plugin) }

var plugin = sdk.Plugin{
	Name: "hello", Version: "0.1.0", Summary: "appends rates and events to a file",
	Exporter: sdk.NewExporter(config{}, build),
}

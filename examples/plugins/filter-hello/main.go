// Command filter-hello is the smallest filter: it drops what comes from or
// goes to a port, so that it never counts.
package main

import (
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

type config struct {
	Port uint16 `hcl:"port" doc:"what comes from it or goes to it is dropped"`
}

type hello struct{ port uint16 }

func build(c config, _ sdk.Env) (*hello, error) { return &hello{c.Port}, nil }

// NewWorker is called once for each worker of each capture. What a worker
// keeps, such as a cache, is its own: no locks are needed.
func (h *hello) NewWorker() (sdk.Judge, error) { return &worker{port: h.port}, nil }

type worker struct{ port uint16 }

// Judge writes verdicts into the records where they lie. A record without a
// verdict passes.
func (w *worker) Judge(batch []traffic.Record) error {
	for i := range batch {
		if r := &batch[i]; r.SrcPort == w.port || r.DstPort == w.port {
			r.Verdict = traffic.VerdictDrop
		}
	}
	return nil
}

func main() { sdk.Serve(plugin) }

var plugin = sdk.Plugin{
	Name: "hello", Version: "0.1.0", Summary: "drops one port",
	Filter: sdk.NewFilter(config{}, build),
}

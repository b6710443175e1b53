// Command action-hello is the smallest action: it greets every attack.
package main

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// config is the block's body: the tags are its schema.
type config struct {
	Greeting string `hcl:"greeting,optional" doc:"what to say"`
}

type hello struct {
	greeting string
	log      hclog.Logger
}

func build(c config, env sdk.Env) (*hello, error) {
	return &hello{greeting: c.Greeting, log: env.Logger}, nil
}

// Notify is called for each event of each attack. An error is shown to the
// operator; wrapped in sdk.Retry it asks for another call.
func (h *hello) Notify(_ context.Context, e sdk.Event) error {
	h.log.Info(h.greeting, "event", string(e.Type), "target", e.Target.Addr().String(), "pps", e.PeakPPS)
	return nil
}

func main() { sdk.Serve(plugin) }

var plugin = sdk.Plugin{
	Name: "hello", Version: "0.1.0", Summary: "greets attacks in the log",
	Notifier: sdk.NewNotifier(config{Greeting: "attack"}, build),
}

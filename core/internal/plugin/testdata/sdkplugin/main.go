// Command sdkplugin is an action made with the SDK, for the launcher's tests.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

type config struct {
	Greeting string `hcl:"greeting,optional"`
}

type action struct {
	config config
	env    sdk.Env
}

func (c *action) Notify(context.Context, sdk.Event) error { return nil }

func (c *action) Start(context.Context) error {
	c.env.Logger.Warn("structured words", "greeting", c.config.Greeting, "n", 5)
	fmt.Println("words on stdout")
	log.Print("[ERROR] words of package log")
	return nil
}

func (c *action) Close(context.Context) error {
	c.env.Logger.Info("closed in order")
	return nil
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "sdkplugin", Version: "3.2.1", Notifier: sdk.NewNotifier(config{Greeting: "hello"},
		func(c config, env sdk.Env) (*action, error) { return &action{c, env}, nil })})
}

// Command sdkplugin is a capture made with the SDK, for the launcher's tests.
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

type capture struct {
	config config
	env    sdk.Env
}

func (c *capture) Run(ctx context.Context, _ *sdk.Writer) error {
	<-ctx.Done()
	return nil
}

func (c *capture) Start(context.Context) error {
	c.env.Logger.Warn("structured words", "greeting", c.config.Greeting, "n", 5)
	fmt.Println("words on stdout")
	log.Print("[ERROR] words of package log")
	return nil
}

func (c *capture) Close(context.Context) error {
	c.env.Logger.Info("closed in order")
	return nil
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "sdkplugin", Version: "3.2.1", Capture: sdk.NewCapture(config{Greeting: "hello"},
		func(c config, env sdk.Env) (*capture, error) { return &capture{c, env}, nil })})
}

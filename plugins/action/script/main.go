// Command action-script calls a program of the operator's when an attack
// starts and when it ends.
package main

import (
	"os"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() {
	if len(os.Args) == 2 && os.Args[1] == sweepArgument {
		sweep(os.Stdin, killCall)
		return
	}
	sdk.Serve(plugin())
}

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "script",
		Version: version,
		Summary: "calls a program when an attack starts, when its packets are there and when it ends",
		Notifier: sdk.NewNotifier(config{
			Format:        formatText,
			Details:       true,
			Timeout:       30 * time.Second,
			MaxConcurrent: 4,
		}, func(c config, env sdk.Env) (*script, error) { return newScript(c, env.Logger, env.StateDir), nil }),
		KeepsState: true,
	}
}

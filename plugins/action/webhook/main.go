// Command action-webhook posts attacks to a web server.
package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "webhook",
		Version: version,
		Summary: "posts attacks to a web server, as JSON or in the words of a template",
		Notifier: sdk.NewNotifier(config{
			Method:      "POST",
			ContentType: "application/json",
			Events:      eventTypes,
			Timeout:     10 * time.Second,
			Retry:       time.Second,
			RetryMost:   time.Minute,
			MaxAge:      24 * time.Hour,
			Spool:       64 << 20,
			Concurrency: 4,
		}, newWebhook),
		KeepsState: true,
	}
}

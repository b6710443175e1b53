// Command action-email mails attacks.
package main

import (
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

var version = "dev" // set by the linker

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:    "email",
		Version: version,
		Summary: "mails attacks, many at once as a digest",
		Notifier: sdk.NewNotifier(config{
			Security:   securityStartTLS,
			Auth:       authPlain,
			Subject:    "FastNetMon: {{.title}}",
			Body:       "{{.text}}",
			Events:     []string{string(sdk.AttackStarted), string(sdk.AttackEnded), string(sdk.MitigationChanged)},
			Burst:      10,
			Every:      time.Minute,
			Timeout:    30 * time.Second,
			AttachMost: 1 << 20,
		}, newMailer),
		KeepsState: true,
	}
}

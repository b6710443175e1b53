// Command fastnetmon finds the hosts that are under DDoS attack, or attack
// others, and acts on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/service"
)

// version is set by the linker.
var version = "devel"

// Exit codes, the same for every command.
const (
	exitFailure = 1 // something went wrong while running
	exitConfig  = 2 // the configuration or the command line is at fault
	exitWarning = 3 // doctor: nothing is at fault, but it warns
)

// exitError carries an exit code; its text has been shown already when empty.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errShown says that everything there is to say was printed.
var errShown = errors.New("")

func shown(code int) error { return &exitError{code: code, err: errShown} }

func main() {
	detached := service.InDetached()
	// A reader that goes away is an error where something is written to it, not
	// the end of everything that has to be tidied up.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal is not asked to wait
	}()
	err := rootCommand(detached).ExecuteContext(ctx)
	if err == nil {
		return
	}
	code := exitConfig
	var coded *exitError
	if errors.As(err, &coded) {
		code = coded.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		code, err = exitFailure, errors.New("interrupted")
	}
	if !errors.Is(err, errShown) {
		fmt.Fprintln(os.Stderr, "fastnetmon:", err)
	}
	os.Exit(code)
}

func rootCommand(detached *service.Detached) *cobra.Command {
	root := &cobra.Command{
		Use:           "fastnetmon",
		Short:         "DDoS detector",
		Long:          "FastNetMon watches traffic, finds hosts under DDoS attack within a second and acts on it.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.SetVersionTemplate("fastnetmon {{.Version}}\n")
	root.AddCommand(
		runCommand(detached),
		checkCommand(),
		replayCommand(),
		pluginCommand(),
		trafficCommand(),
		demoCommand(),
		versionCommand(),
		statusCommand(), totalsCommand(), hostsCommand(), pluginsCommand(), ledgerCommand(), attacksCommand(), eventsCommand(), reloadCommand(),
		exportersCommand(), neighborsCommand(), doctorCommand(), explainCommand(), suggestCommand(),
		mitigationsCommand(), banCommand(), unbanCommand(), heldCommand(), actionCommand(),
	)
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "fastnetmon", version)
		},
	}
}

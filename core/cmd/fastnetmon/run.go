package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/pipeline"
	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
	"github.com/fastnetmon-go/fastnetmon/core/internal/service"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// runFlags are the flags of run.
type runFlags struct {
	config     string
	logs       logFlags
	log        string
	pidFile    string
	background bool
}

func runCommand(detached *service.Detached) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Watch traffic and act until stopped",
		Long: `Run starts the plugins of the configuration, counts, decides and acts until it gets SIGINT or SIGTERM; then it drains
captures, engine and actions in that order. SIGHUP reads the configuration again: what changed takes effect, what did not
goes on, and a configuration with errors changes nothing. SIGUSR1 opens the log file anew. Without --config it looks for
fastnetmon.hcl in this directory, then for /etc/fastnetmon/fastnetmon.hcl and /etc/fastnetmon.hcl.

Under systemd it tells when it is ready and feeds the watchdog. With --daemon it goes into the background once it works;
its log then goes to syslog unless --log names a file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.background && detached == nil {
				code, err := service.Detach(cmd.Context(), cmd.ErrOrStderr())
				switch {
				case err != nil:
					return &exitError{code, err}
				case code != 0:
					return shown(code) // the child's words were relayed
				}
				return nil
			}
			return runDaemon(cmd, &f, detached)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration: a file, or a directory of *.hcl files")
	cmd.Flags().StringVar(&f.log, "log", "", "where the log goes: stderr, syslog or file:/path; stderr unless in the background")
	cmd.Flags().StringVar(&f.pidFile, "pid-file", "", "file for the process id, locked while the daemon runs")
	cmd.Flags().BoolVar(&f.background, "daemon", false, "go into the background once everything works")
	f.logs.add(cmd, "info")
	return cmd
}

func runDaemon(cmd *cobra.Command, f *runFlags, detached *service.Detached) error {
	// From here on: until it is served, a signal would end the program.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	path, err := configPath(f.config)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil { // in the background the working directory changes
		return failure(err)
	}
	level, err := f.logs.parse()
	if err != nil {
		return err
	}
	log, err := service.NewLogger(service.Options{
		Name: "fastnetmon", Level: level, JSON: f.logs.json, Output: f.log, Detached: detached != nil,
		Unlimited: []string{"attack ", "reload"}, Stderr: cmd.ErrOrStderr(),
	})
	if err != nil {
		return failure(err)
	}
	defer log.Close()
	if f.pidFile != "" {
		pid, err := service.WritePIDFile(f.pidFile)
		if err != nil {
			return failure(err)
		}
		defer func() { _ = pid.Remove() }() // a stale one is taken over
	}
	cfg, diags := config.Load(path)
	if diags.HasErrors() {
		return showDiagnostics(cmd.ErrOrStderr(), diags, cfg.Files)
	}
	log.Info("configuration loaded", "path", path, "revision", cfg.Revision)
	r := &running{path: path, cmd: cmd, log: log, notify: service.NewNotifier(), started: time.Now(), up: make(chan struct{})}
	r.history = store.OpenHistory(store.HistoryOptions{
		Path: filepath.Join(cfg.Daemon.StateDir, store.HistoryFile), Log: log, Retention: func() store.Retention { return r.retention(cfg) },
	})
	r.daemon = pipeline.New(pipeline.Options{
		Config: cfg, Log: log, Version: version, OnEvent: r.publish, OnRunning: func() { r.ready(detached) },
		Troubles: r.troubles, Metrics: r.metrics,
	})
	guard := plugin.StartGuard(log)
	stop := r.handleSignals(signals)
	said, err := r.daemon.Run(cmd.Context())
	stop()
	r.history.Close()
	guard.Stop()
	log.Flush() // what follows goes to the same place
	if bad := showDiagnostics(cmd.ErrOrStderr(), append(diags, said...), cfg.Files); bad != nil {
		return bad
	}
	return failure(err)
}

// running is the daemon and those who are told how it is.
type running struct {
	path   string
	cmd    *cobra.Command
	daemon *pipeline.Daemon
	log    *service.Logger
	notify *service.Notifier

	started     time.Time
	up          chan struct{} // closed when everything has come up; before, the daemon is asked nothing
	subscribers subscribers
	history     *store.History
	reloading   sync.Mutex
	lists       listWatch
	background  context.Context // of what goes on until the daemon has drained
	helpers     sync.WaitGroup
}

// ready opens the control socket and tells a waiting parent and the service
// manager that it works.
func (r *running) ready(detached *service.Detached) {
	// What waits for this to reload does so after READY=1: RELOADING=1 before it
	// would be taken for the start.
	r.reloading.Lock()
	defer r.reloading.Unlock()
	r.helpers.Go(func() { r.serveControl(r.background) })
	r.helpers.Go(func() { r.watchLists(r.background) })
	if err := detached.Ready(); err != nil {
		r.log.Error("going into the background failed", "error", err)
	}
	close(r.up)
	r.tell(r.notify.Ready(r.status()))
}

// isUp tells whether everything has come up.
func (r *running) isUp() bool {
	select {
	case <-r.up:
		return true
	default:
		return false
	}
}

// healthy tells the watchdog whether detection goes on. How long a start may
// take is the service manager's own business.
func (r *running) healthy() bool { return !r.isUp() || r.daemon.Healthy() }

// troubles lists what is wrong with the program around the pipelines.
func (r *running) troubles() (out []string) {
	if trouble := r.log.Trouble(); trouble != "" {
		out = append(out, trouble)
	}
	return append(out, r.history.Troubles()...)
}

// metrics are figures about the program around the pipelines.
func (r *running) metrics() []sdk.Metric {
	return append(r.history.Metrics(), sdk.Metric{Name: "log_lines_lost_total", Value: float64(r.log.Lost())})
}

// publish hands an event on; nothing in it waits.
func (r *running) publish(e sdk.Event) {
	r.history.Offer(&e)
	r.subscribers.publish(e)
}

// retention is what the configuration in force says of the history.
func (r *running) retention(first *config.Config) store.Retention {
	cfg := first
	if r.isUp() {
		if now := r.daemon.Config(); now != nil {
			cfg = now
		}
	}
	return store.Retention{Keep: cfg.History.Keep, Max: cfg.History.MaxSize}
}

func (r *running) status() string {
	if !r.isUp() {
		return "starting"
	}
	return fmt.Sprintf("%s, %s open", plural(r.daemon.Captures(), "capture"), plural(r.daemon.OpenAttacks(), "attack"))
}

func (r *running) tell(err error) {
	if err != nil {
		r.log.Warn("the service manager could not be told", "error", err)
	}
}

// handleSignals serves SIGHUP and SIGUSR1 and feeds watchdog and status, until
// the returned function is called.
func (r *running) handleSignals(signals <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.cmd.Context()))
	r.background = ctx
	r.helpers.Go(func() { r.notify.Watchdog(ctx, r.healthy) })
	r.helpers.Go(func() { r.serve(ctx, signals) })
	return func() {
		signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1) // one that comes late must not be what ends the program
		cancel()
		r.helpers.Wait()
	}
}

// statusEvery is how often the service manager shows a new status.
const statusEvery = 5 * time.Second

func (r *running) serve(ctx context.Context, signals <-chan os.Signal) {
	status := time.NewTicker(statusEvery)
	defer status.Stop()
	stopping := r.cmd.Context().Done()
	var reload <-chan struct{} // closed where one is wanted and everything has come up
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			r.tell(r.notify.Stopping())
			stopping = nil
		case <-status.C:
			if stopping != nil {
				r.tell(r.notify.Status(r.status()))
			}
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				if err := r.log.Reopen(); err != nil {
					r.log.Error("the log file cannot be opened anew", "error", err)
				}
				continue
			}
			reload = r.up
		case <-reload:
			reload = nil
			if _, _, _, err := r.reload(false); err != nil {
				r.log.Error("reload failed, the old configuration stays in force", "error", err)
			}
		}
	}
}

// reload reads the configuration again and puts it in force if it is right. A
// list that is held stays so unless accept says that its loss is meant. An
// error is not about the configuration.
func (r *running) reload(accept bool) (cfg *config.Config, changes []string, diags hcl.Diagnostics, err error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	r.tell(r.notify.Reloading())
	defer func() { r.tell(r.notify.Ready(r.status())) }()
	var options []config.Option
	if now := r.daemon.Config(); now != nil && !accept {
		options = append(options, config.Holding(now.Lists))
	}
	cfg, diags = config.Load(r.path, options...)
	r.logHeld(cfg)
	if !diags.HasErrors() {
		var said hcl.Diagnostics
		changes, said, err = r.daemon.Reload(r.cmd.Context(), cfg)
		diags = append(diags, said...)
	}
	for _, d := range diags {
		where := ""
		if d.Subject != nil {
			where = d.Subject.String()
		}
		r.log.Warn("reload: "+d.Summary, "detail", d.Detail, "at", where)
	}
	switch {
	case err != nil:
	case diags.HasErrors():
		r.log.Error("reload refused, the old configuration stays in force", "path", r.path)
	default:
		r.lists.report("")
		for _, change := range changes {
			r.log.Info("reload: " + change)
		}
	}
	return cfg, changes, diags, err
}

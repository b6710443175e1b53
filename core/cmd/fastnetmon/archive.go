package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/core/internal/evidence"
	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// settleTime is how long a question waits for what was told just now to be
// written.
const settleTime = time.Second

// History implements api.Archive.
func (b backend) History(ctx context.Context, q store.Query) (store.Page, error) {
	a, err := b.archive(ctx)
	if err != nil {
		return store.Page{}, err
	}
	return a.History(ctx, q)
}

// Attack implements api.Archive.
func (b backend) Attack(ctx context.Context, id string) (store.Attack, error) {
	a, err := b.archive(ctx)
	if err != nil {
		return store.Attack{}, err
	}
	return a.Attack(ctx, id)
}

// AttackFile implements api.Archive.
func (b backend) AttackFile(ctx context.Context, id, kind string) (api.AttackFile, error) {
	a, err := b.archive(ctx)
	if err != nil {
		return api.AttackFile{}, err
	}
	return a.AttackFile(ctx, id, kind)
}

// HistorySummary implements api.Archive.
func (b backend) HistorySummary(ctx context.Context, since, until time.Time) (store.Summary, error) {
	a, err := b.archive(ctx)
	if err != nil {
		return store.Summary{}, err
	}
	return a.HistorySummary(ctx, since, until)
}

// archive is the daemon's history, up to this moment.
func (b backend) archive(ctx context.Context) (*archive, error) {
	soon, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	b.history.Settle(soon)
	r, err := b.history.Reader()
	if err != nil {
		return nil, err
	}
	cfg := b.daemon.Config()
	if cfg == nil {
		return nil, errors.New("the daemon stops")
	}
	return &archive{r, cfg.Evidence}, nil
}

// archive is a history and the files of its attacks.
type archive struct {
	reader   *store.Reader
	evidence config.Evidence
}

var _ api.Archive = (*archive)(nil)

// History implements api.Archive.
func (a *archive) History(ctx context.Context, q store.Query) (store.Page, error) {
	return a.reader.List(ctx, q)
}

// Attack implements api.Archive.
func (a *archive) Attack(_ context.Context, id string) (store.Attack, error) {
	return a.reader.Get(id)
}

// HistorySummary implements api.Archive.
func (a *archive) HistorySummary(ctx context.Context, since, until time.Time) (store.Summary, error) {
	return a.reader.Summarize(ctx, since, until)
}

// AttackFile implements api.Archive.
func (a *archive) AttackFile(_ context.Context, id, kind string) (api.AttackFile, error) {
	attack, err := a.reader.Get(id)
	if err != nil {
		return api.AttackFile{}, err
	}
	e := &attack.Event
	known, paths := a.paths(e, kind)
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return api.AttackFile{}, err
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			_ = f.Close()
			return api.AttackFile{}, errors.Join(err, fmt.Errorf("%w: %s is no file", api.ErrNoFile, path))
		}
		return api.AttackFile{Name: filepath.Base(path), Size: info.Size(), Content: f}, nil
	}
	return api.AttackFile{}, fmt.Errorf("%w with the %s of attack %s: %s", api.ErrNoFile, kind, e.ID, a.whyNone(&attack, kind, known))
}

// paths are where a file of an attack may lie; known says that it was written.
func (a *archive) paths(e *sdk.Event, kind string) (known bool, paths []string) {
	told, extensions := "", []string{".pcap", ".pcapng"}
	if e.Evidence != nil {
		told = e.Evidence.PCAP
	}
	if kind == api.FileReport {
		extensions = []string{".txt"}
		if e.Evidence != nil {
			told = e.Evidence.Report
		}
	}
	if told != "" {
		paths = append(paths, told)
	}
	for _, extension := range extensions { // one that was written after the last event
		paths = append(paths, filepath.Join(a.evidence.Directory, evidence.Name(e)+extension))
	}
	return told != "", paths
}

func (a *archive) whyNone(attack *store.Attack, kind string, known bool) string {
	r := attack.Event.Evidence
	switch {
	case known:
		return fmt.Sprintf("it was removed; files of evidence are kept for %s, and up to %s of them together", days(a.evidence.Keep), sdk.Size(a.evidence.MaxSize))
	case attack.State == store.StateOpen && (r == nil || !r.Complete):
		return "it is not written yet"
	case r == nil:
		return "no packets of it were sampled"
	case len(r.Problems) > 0:
		return "it was not written: " + r.Problems[0]
	case kind == api.FilePackets && r.Frames == 0:
		return "its samples are flow records, which have no packets"
	}
	return "it was not written"
}

// days writes a time as people set it.
func days(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// archiveFlags are the flags of commands that look into the history.
type archiveFlags struct {
	clientFlags
	stateDir string
}

func (f *archiveFlags) add(cmd *cobra.Command) {
	f.clientFlags.add(cmd)
	cmd.Flags().StringVar(&f.stateDir, "state-dir", "", "read the history in this directory, of a daemon that does not run")
	cmd.MarkFlagsMutuallyExclusive("socket", "state-dir")
}

// withArchive asks the running daemon or, where none runs, the file that it has
// left. use is called again then, so its first question comes before its output.
func withArchive(cmd *cobra.Command, f *archiveFlags, use func(context.Context, api.Archive) error) error {
	if f.stateDir != "" {
		return f.offline(cmd, use, nil)
	}
	return askDaemon(cmd, &f.clientFlags, func(ctx context.Context, c *api.Client) error {
		err := use(ctx, c)
		if errors.Is(err, api.ErrNotRunning) && f.socket == "" {
			return f.offline(cmd, use, err)
		}
		return err
	})
}

// offline reads the file of a daemon that does not run. Where there is none,
// the reason to look for it is the error.
func (f *archiveFlags) offline(cmd *cobra.Command, use func(context.Context, api.Archive) error, why error) error {
	cfg, err := f.setting(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.Daemon.StateDir, store.HistoryFile)
	r, err := store.OpenReader(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && why != nil:
		return why
	case errors.Is(err, store.ErrLocked):
		return failure(fmt.Errorf("%s: a daemon has it open: ask that, without --state-dir", path))
	case err != nil:
		return failure(err)
	}
	defer r.Close()
	if why != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "no daemon answers: this is what %s has\n", path)
	}
	err = use(cmd.Context(), &archive{r, cfg.Evidence})
	if errors.Is(err, store.ErrBadCursor) || errors.Is(err, store.ErrAmbiguous) || errors.Is(err, api.ErrBadQuery) {
		return &exitError{exitConfig, err}
	}
	return failure(err)
}

// setting is the configuration that says where history and evidence lie.
func (f *archiveFlags) setting(w io.Writer) (*config.Config, error) {
	var cfg *config.Config
	if f.config != "" {
		var diags hcl.Diagnostics
		if cfg, diags = config.Load(f.config); cfg.Daemon.StateDir == "" {
			return nil, showDiagnostics(w, diags, files(cfg))
		}
	} else {
		cfg, _ = config.LoadBytes("defaults.hcl", nil) // what it lacks to run is not asked for
	}
	if f.stateDir != "" {
		cfg.Daemon.StateDir = f.stateDir
		if f.config == "" {
			cfg.Evidence.Directory = filepath.Join(f.stateDir, "evidence")
		}
	}
	return cfg, nil
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// DirEnv names the environment variable with further directories to search,
// separated as in PATH.
const DirEnv = "FASTNETMON_PLUGIN_DIR"

// A program is called "<kind>-<name>"; names are HCL identifiers.
var programName = regexp.MustCompile(`^(capture|filter|action|export)-([A-Za-z_][A-Za-z0-9_-]{0,63})$`)

// ErrNotFound says that no plugin of this kind and name is installed.
var ErrNotFound = errors.New("plugin not found")

// Found is one installed plugin.
type Found struct {
	Kind string
	Name string
	Path string
	// What it says of itself, schema included; only List fills this in.
	About *host.Description
	// Why it cannot be used; only List fills this in.
	Err error
}

// Finder looks for plugins in directories; the first that has one wins.
type Finder struct {
	Dirs []string
}

// NewFinder searches beside the running program, then further, then what
// FASTNETMON_PLUGIN_DIR names, then where packages install.
func NewFinder(further ...string) Finder {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append(dirs, filepath.Join(filepath.Dir(exe), "plugins"))
	}
	dirs = append(dirs, further...)
	for _, dir := range filepath.SplitList(os.Getenv(DirEnv)) {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	dirs = append(dirs, "/usr/lib/fastnetmon/plugins", "/usr/local/lib/fastnetmon/plugins")
	return Finder{Dirs: dirs}
}

// Find returns the program of a plugin: path if it is not empty, else the
// first "<kind>-<name>" in the directories. A program that is found but may
// not be run is an error: the search does not go on behind it.
func (f Finder) Find(kind, name, path string) (Found, error) {
	if path != "" {
		if err := checkPath(path); err != nil {
			return Found{}, fmt.Errorf("%s %q: %w", kind, name, err)
		}
		return Found{Kind: kind, Name: name, Path: path}, nil
	}
	for _, dir := range f.Dirs {
		path := filepath.Join(dir, kind+"-"+name)
		err := checkPath(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return Found{}, fmt.Errorf("%s %q: %w", kind, name, err)
		}
		return Found{Kind: kind, Name: name, Path: path}, nil
	}
	if reason := f.leftOut()[kind+"-"+name]; reason != "" {
		return Found{}, fmt.Errorf("%w: %s %q was %s", ErrNotFound, kind, name, reason)
	}
	return Found{}, f.notFound(kind, name)
}

// A build says in "<kind>-<name>.missing" why it left a plugin out.
const (
	leftOutSuffix = ".missing"
	maxReason     = 500 // octets
)

// leftOut lists what a build has left out, and why: by program.
func (f Finder) leftOut() map[string]string {
	out := map[string]string{}
	for _, dir := range f.Dirs {
		notes, _ := filepath.Glob(filepath.Join(dir, "*"+leftOutSuffix)) // as scan: what cannot be read says nothing
		for _, note := range notes {
			program := strings.TrimSuffix(filepath.Base(note), leftOutSuffix)
			text, err := os.ReadFile(note)
			if err == nil && programName.MatchString(program) && out[program] == "" {
				out[program] = strings.ToValidUTF8(strings.TrimSpace(string(text[:min(len(text), maxReason)])), "")
			}
		}
	}
	return out
}

func (f Finder) notFound(kind, name string) error {
	text := fmt.Sprintf("no program %s-%s in %s", kind, name, strings.Join(f.Dirs, ", "))
	var names []string
	for _, found := range f.scan() {
		if found.Kind == kind && found.Path != "" {
			names = append(names, found.Name)
		}
	}
	if near := nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %s %q?", kind, near)
	} else if len(names) > 0 {
		text += fmt.Sprintf("; installed are: %s", strings.Join(names, ", "))
	}
	return fmt.Errorf("%w: %s; install it, name its program with process { path }, or its directory with %s",
		ErrNotFound, text, DirEnv)
}

// List returns every installed plugin, by kind and name, with what it says of
// itself. One that may not be run or does not answer is listed with its error.
func (f Finder) List(ctx context.Context) []Found {
	found := f.scan()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i := range found {
		if found[i].Err != nil {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i].About, found[i].Err = Describe(ctx, found[i].Path)
			if found[i].Err == nil {
				found[i].Err = identify(found[i].About, found[i].Kind, found[i].Name)
			}
		})
	}
	wg.Wait()
	return found
}

// scan lists the programs without running them.
func (f Finder) scan() []Found {
	var all []Found
	seen := map[string]bool{}
	for _, dir := range f.Dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // one that is not there or not ours to read has no plugins for us
		}
		for _, entry := range entries {
			part := programName.FindStringSubmatch(entry.Name())
			if part == nil || seen[entry.Name()] {
				continue
			}
			seen[entry.Name()] = true
			path := filepath.Join(dir, entry.Name())
			all = append(all, Found{Kind: part[1], Name: part[2], Path: path, Err: checkPath(path)})
		}
	}
	for program, reason := range f.leftOut() {
		if part := programName.FindStringSubmatch(program); !seen[program] {
			all = append(all, Found{Kind: part[1], Name: part[2], Err: errors.New(reason)})
		}
	}
	slices.SortFunc(all, func(a, b Found) int {
		if a.Kind != b.Kind {
			return strings.Compare(a.Kind, b.Kind)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// nearest returns the name that is at most a third of its letters away.
func nearest(name string, names []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, candidate := range names {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is Levenshtein's, over bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

package plugin

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFind(t *testing.T) {
	first, second := pluginDir(t, "capture-good"), pluginDir(t, "capture-good", "capture-moody", "notes.txt", "capture-moody.bak")
	f := Finder{Dirs: []string{first, second}}
	found, err := f.Find("capture", "good", "")
	if err != nil || found.Path != filepath.Join(first, "capture-good") {
		t.Errorf("found %+v, %v", found, err)
	}
	found, err = f.Find("capture", "moody", "")
	if err != nil || found.Path != filepath.Join(second, "capture-moody") {
		t.Errorf("found %+v, %v", found, err)
	}
	_, err = f.Find("capture", "modoy", "")
	if !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	for _, want := range []string{"capture-modoy", first, second, `did you mean capture "moody"?`, DirEnv} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err = f.Find("capture", "entirely-else", ""); err == nil || !strings.Contains(err.Error(), "installed are: good, moody") {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(second, "capture-moody")
	if found, err = f.Find("capture", "good", path); err != nil || found.Path != path {
		t.Errorf("by path: %+v, %v", found, err)
	}
	for _, bad := range []string{"relative/capture-good", filepath.Join(second, "missing")} {
		if _, err := f.Find("capture", "good", bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestNewFinder(t *testing.T) {
	t.Setenv(DirEnv, "/opt/a:not/absolute:/opt/b")
	dirs := NewFinder("/opt/first").Dirs
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, _ = filepath.EvalSymlinks(exe)
	want := []string{
		filepath.Join(filepath.Dir(exe), "plugins"), "/opt/first", "/opt/a", "/opt/b",
		"/usr/lib/fastnetmon/plugins", "/usr/local/lib/fastnetmon/plugins",
	}
	if strings.Join(dirs, " ") != strings.Join(want, " ") {
		t.Errorf("searches %v, want %v", dirs, want)
	}
}

// What somebody else could have written is not run, and not passed over
// either: a program further down the list must not take its place unseen.
func TestFindRefuses(t *testing.T) {
	type file struct {
		mode         os.FileMode
		want         string
		owner, group int
	}
	files := map[string]file{
		"plain":     {0o644, "not executable", -1, -1},
		"world":     {0o757, "changed by anybody", -1, -1},
		"directory": {os.ModeDir | 0o755, "not a regular file", -1, -1},
		"pipe":      {os.ModeNamedPipe | 0o755, "not a regular file", -1, -1},
	}
	if os.Geteuid() == 0 { // only root can give files away; TestPermitted stands in for others
		files["stranger"] = file{0o755, "belongs to user id 4242", 4242, -1}
		files["group"] = file{0o775, "changed by group id 4242", -1, 4242}
	}
	good := pluginDir(t, "capture-x")
	for name, c := range files {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "capture-x")
			var err error
			switch c.mode.Type() {
			case os.ModeDir:
				err = os.Mkdir(path, 0o755)
			case os.ModeNamedPipe:
				err = syscall.Mkfifo(path, 0o755)
			default:
				err = os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)
			}
			if err == nil {
				err = os.Chmod(path, c.mode.Perm())
			}
			if err == nil {
				err = os.Chown(path, c.owner, c.group)
			}
			if err != nil {
				t.Fatal(err)
			}
			f := Finder{Dirs: []string{dir, good}}
			if _, err := f.Find("capture", "x", ""); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v", err)
			}
			if p, err := openProgram(path, nil); err == nil {
				p.close()
				t.Error("it would be launched")
			}
			if list := f.List(context.Background()); len(list) != 1 || list[0].Err == nil {
				t.Errorf("listed as %+v", list)
			}
		})
	}
}

// fileInfo is a file with any owner.
type fileInfo struct {
	fs.FileInfo
	mode     fs.FileMode
	uid, gid int
}

func (i fileInfo) Mode() fs.FileMode { return i.mode }
func (i fileInfo) Sys() any          { return &syscall.Stat_t{Uid: uint32(i.uid), Gid: uint32(i.gid)} }

func TestPermitted(t *testing.T) {
	us, ours, stranger := os.Geteuid(), os.Getegid(), os.Geteuid()+4242
	for _, c := range []struct {
		info fileInfo
		want string // "" if it is permitted
	}{
		{fileInfo{mode: 0o755, uid: us, gid: ours}, ""},
		{fileInfo{mode: 0o755, uid: 0, gid: stranger}, ""},
		{fileInfo{mode: 0o775, uid: us, gid: ours}, ""},
		{fileInfo{mode: 0o775, uid: us, gid: stranger}, "changed by group id"},
		{fileInfo{mode: 0o755, uid: stranger, gid: ours}, "belongs to user id"},
		{fileInfo{mode: 0o757, uid: us, gid: ours}, "changed by anybody"},
		{fileInfo{mode: 0o644, uid: us, gid: ours}, "not executable"},
	} {
		err := permitted("/p", c.info)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v of %d:%d: %v", c.info.mode, c.info.uid, c.info.gid, err)
		}
	}
}

func TestList(t *testing.T) {
	noTrace(t)
	dir := pluginDir(t, "capture-good", "capture-moody", "capture-exits", "capture-garbage", "capture-misnamed", "capture-flood")
	var list []Found
	within(t, "listing", func() {
		list = Finder{Dirs: []string{filepath.Join(dir, "missing"), dir}}.List(context.Background())
	})
	want := map[string]string{
		"exits": "cannot read /etc/stub.conf", "flood": "more than 1048576 bytes", "garbage": `"hello"`,
		"good": "", "misnamed": `capture "other"`, "moody": "",
	}
	if len(list) != len(want) {
		t.Fatalf("listed %+v", list)
	}
	for n, found := range list {
		if n > 0 && list[n-1].Name >= found.Name {
			t.Error("not in order")
		}
		switch text := want[found.Name]; {
		case text == "" && (found.Err != nil || found.About.Version != "1.2.3"):
			t.Errorf("%s: %+v %v", found.Name, found.About, found.Err)
		case text != "" && (found.Err == nil || !strings.Contains(found.Err.Error(), text)):
			t.Errorf("%s: %v", found.Name, found.Err)
		}
	}
}

func TestDescribeHangs(t *testing.T) {
	noTrace(t)
	program := stubProgram(t, "mute")
	within(t, "giving up after describeTimeout", func() {
		if _, err := Describe(context.Background(), program); err == nil || !strings.Contains(err.Error(), "no answer within 5s") {
			t.Errorf("error %v", err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, "giving up when asked to", func() {
		if _, err := Describe(ctx, program); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestNearest(t *testing.T) {
	names := []string{"afpacket", "sflow", "netflow", "pcap"}
	for in, want := range map[string]string{"sflwo": "sflow", "netflow5": "netflow", "pcpa": "pcap", "influxdb": "", "": ""} {
		if got := nearest(in, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// What a build has left out is listed with the reason, unless it is installed
// elsewhere.
func TestLeftOut(t *testing.T) {
	dir, other := pluginDir(t, "capture-good"), pluginDir(t, "capture-moody")
	for name, text := range map[string]string{
		"action-dpi.missing": "left out, since there is no library\n", "capture-moody.missing": "left out", "nonsense.missing": "x", "export-long.missing": strings.Repeat("y", 10_000),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := Finder{Dirs: []string{dir, other}}
	if _, err := f.Find("action", "dpi", ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `action "dpi" was left out, since there is no library`) {
		t.Errorf("%v", err)
	}
	if _, err := f.Find("capture", "moody", ""); err != nil {
		t.Errorf("one that is installed elsewhere: %v", err)
	}
	got := map[string]string{}
	for _, found := range f.scan() {
		if found.Path == "" {
			got[found.Kind+"-"+found.Name] = found.Err.Error()
		}
	}
	if len(got) != 2 || got["action-dpi"] != "left out, since there is no library" || len(got["export-long"]) != maxReason {
		t.Errorf("%q", got)
	}
}

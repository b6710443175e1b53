package plugin

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDirMistakes(t *testing.T) {
	noTrace(t)
	spec, _ := stubSpec(t, "good")
	for dir, want := range map[string]string{
		filepath.Join(t.TempDir(), "missing"): "no such file or directory",
		spec.Path:                             "is not a directory",
	} {
		spec.Dir = dir
		_, err := Launch(context.Background(), spec)
		if err == nil || !strings.Contains(err.Error(), "working directory") || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v", err)
		}
	}
}

func TestMayEnter(t *testing.T) {
	who := &syscall.Credential{Uid: 1000, Gid: 100, Groups: []uint32{7}}
	for _, c := range []struct {
		mode     fs.FileMode
		uid, gid int
		may      bool
	}{
		{0o700, 1000, 0, true},
		{0o077, 1000, 100, false},
		{0o010, 0, 100, true},
		{0o010, 0, 7, true},
		{0o707, 0, 7, false},
		{0o701, 0, 0, true},
		{0o770, 0, 0, false},
	} {
		if may := mayEnter(fileInfo{mode: c.mode, uid: c.uid, gid: c.gid}, who); may != c.may {
			t.Errorf("%+v: %t", c, may)
		}
	}
	if !mayEnter(fileInfo{uid: 5}, &syscall.Credential{}) {
		t.Error("root may not")
	}
	us := fileInfo{mode: 0o100, uid: os.Geteuid(), gid: os.Getegid()}
	if !mayEnter(us, nil) {
		t.Error("we may not enter what is ours")
	}
}

// An error that is not the directory's is left to others to explain.
func TestExplainDir(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		explainDir("", "", identity{}, syscall.EACCES),
		explainDir(dir, "", identity{}, syscall.ENOENT),
		explainDir(dir, "", identity{}, syscall.EACCES),
		explainDir("/", "nobody", identity{credential: &syscall.Credential{Uid: 1}}, syscall.EACCES),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

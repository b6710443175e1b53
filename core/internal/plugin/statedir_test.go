package plugin

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// A block's directory is made once, is nobody else's, and belongs to the user
// that its process runs as.
func TestStateDir(t *testing.T) {
	base := filepath.Join(t.TempDir(), "state")
	p := &Process{spec: Spec{Kind: "capture", Name: "netflow", Instance: "flows"}, log: hclog.NewNullLogger()}
	dir := p.StateDir(base)
	if want := filepath.Join(base, "plugins", "capture-netflow-flows"); dir != want {
		t.Fatalf("%q, want %q", dir, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	file, link := filepath.Join(dir, "kept"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if again := p.StateDir(base); again != dir {
		t.Errorf("%q the second time", again)
	}
	if os.Geteuid() == 0 {
		p.owner = &syscall.Credential{Uid: 12345, Gid: 12346}
		p.StateDir(base)
		for _, path := range []string{dir, file, link} {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if s := info.Sys().(*syscall.Stat_t); s.Uid != 12345 || s.Gid != 12346 {
				t.Errorf("%s belongs to %d:%d", path, s.Uid, s.Gid)
			}
		}
		if info, err := os.Stat(outside); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Error("what a link points at changed hands")
		}
	}
}

func TestNoStateDir(t *testing.T) {
	base := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Process{spec: Spec{Kind: "capture", Name: "netflow", Instance: "flows"}, log: hclog.NewNullLogger()}
	if dir := p.StateDir(base); dir != "" {
		t.Errorf("%q below a file", dir)
	}
}

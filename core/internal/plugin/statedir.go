package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// StateDir makes the directory, below base, of what the block's plugin keeps,
// and gives it to the user that the process runs as. It is the same for every
// process of the block. "" means that there is none, and the log says why.
func (p *Process) StateDir(base string) string {
	dir, err := p.makeStateDir(base)
	if err != nil {
		p.log.Warn("the plugin keeps nothing over a restart: make the daemon's state_dir writable", "error", err)
		return ""
	}
	return dir
}

func (p *Process) makeStateDir(base string) (string, error) {
	parent := filepath.Join(base, "plugins")
	dir := filepath.Join(parent, p.spec.Kind+"-"+p.spec.Name+"-"+p.spec.Instance)
	if err := os.MkdirAll(parent, 0o711); err != nil { //nolint:gosec // plugins of other users pass through
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no directory: move it away", dir)
	}
	if owner := p.owner; owner != nil {
		return dir, give(dir, int(owner.Uid), int(owner.Gid))
	}
	return dir, nil
}

// give makes a directory and the files in it somebody's. Links are not
// followed: what lies there is another user's word.
func give(dir string, uid, gid int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Lchown(filepath.Join(dir, e.Name()), uid, gid); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Lchown(dir, uid, gid)
}

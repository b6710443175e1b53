package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A socket's path must fit sun_path, the smallest of which (BSD, macOS) has
// 104 bytes; go-plugin appends "/plugin-dir<n>/plugin<n>" with n < 2^32.
const maxRuntimeDir = 104 - 1 - len("/plugin-dir4294967295/plugin4294967295")

// prepareRuntimeDir makes the directory for sockets if it is missing. With
// open, other users may pass through it, though not look into it.
func prepareRuntimeDir(dir string, open bool) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("runtime_dir %q: the path must be absolute", dir)
	}
	if len(dir) > maxRuntimeDir {
		return fmt.Errorf("runtime_dir %q is too long for the path of a socket: %d bytes, at most %d are possible", dir, len(dir), maxRuntimeDir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("runtime_dir: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("runtime_dir: %w", err)
	}
	if perm := info.Mode().Perm(); open && perm&0o001 == 0 {
		if err := os.Chmod(dir, perm|0o011); err != nil {
			return fmt.Errorf("runtime_dir: letting plugins of another user pass: %w", err)
		}
	}
	return nil
}

// Sweep removes what a killed program has left of plugin sockets. Call it once
// before the first launch: nobody else may be using the directory.
func Sweep(runtimeDir string) error {
	left, err := filepath.Glob(filepath.Join(runtimeDir, "plugin-dir*"))
	if err != nil {
		return err
	}
	var all error
	for _, dir := range left {
		all = errors.Join(all, os.RemoveAll(dir))
	}
	return all
}

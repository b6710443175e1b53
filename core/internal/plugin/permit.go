package plugin

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkPath refuses a file that somebody else could have put there or changed.
func checkPath(path string) error {
	if err := absolute(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return permitted(path, info)
}

func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: a plugin's path must be absolute", path)
	}
	return nil
}

// permitted is asked twice: of the path when searching and of the opened
// descriptor when launching, since the file may have been replaced meanwhile.
func permitted(path string, info fs.FileInfo) error {
	mode := info.Mode()
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case mode.Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable; chmod 755 it if it is a plugin", path)
	case mode.Perm()&0o002 != 0:
		return fmt.Errorf("%s can be changed by anybody (mode %04o); chmod o-w it", path, mode.Perm())
	case !ok:
		return fmt.Errorf("%s: its owner is not known", path)
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user id %d; a plugin must belong to root or to the user who runs this program", path, stat.Uid)
	case mode.Perm()&0o020 != 0 && int(stat.Gid) != os.Getegid():
		return fmt.Errorf("%s can be changed by group id %d (mode %04o); chmod g-w it", path, stat.Gid, mode.Perm())
	}
	return nil
}

package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// checkDir refuses a working directory that is none.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("working directory: %s is not a directory", dir)
	}
	return nil
}

// explainDir says which directory on the way to the working directory kept a
// process from starting: the kernel gives one error for this and for a program
// that may not be run. It returns nil if none is to blame.
func explainDir(dir, user string, id identity, err error) error {
	if dir == "" || !errors.Is(err, syscall.EACCES) {
		return nil
	}
	path, pathErr := filepath.Abs(dir)
	if pathErr == nil {
		path, pathErr = filepath.EvalSymlinks(path)
	}
	if pathErr != nil {
		return fmt.Errorf("working directory: %w", pathErr)
	}
	for end := 1; ; {
		info, statErr := os.Stat(path[:end])
		if statErr != nil {
			return fmt.Errorf("working directory %s: %w", dir, statErr)
		}
		if !mayEnter(info, id.credential) {
			return fmt.Errorf("working directory %s: user %s may not enter %s (mode %04o); let that user in (chmod o+x) or run the plugin as another (process.user)",
				dir, userName(user), path[:end], info.Mode().Perm())
		}
		if end == len(path) {
			return nil
		}
		if next := strings.IndexByte(path[end+1:], filepath.Separator); next >= 0 {
			end += 1 + next
		} else {
			end = len(path)
		}
	}
}

func userName(name string) string {
	if name == "" {
		return fmt.Sprintf("id %d", os.Geteuid())
	}
	return fmt.Sprintf("%q", name)
}

// mayEnter goes by owner, group and mode; an access control list may say more.
func mayEnter(info fs.FileInfo, who *syscall.Credential) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	if who == nil {
		who = ourCredential()
	}
	switch mode := info.Mode().Perm(); {
	case who.Uid == 0:
		return true
	case who.Uid == stat.Uid:
		return mode&0o100 != 0
	case who.Gid == stat.Gid, slices.Contains(who.Groups, stat.Gid):
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

func ourCredential() *syscall.Credential {
	us := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	groups, _ := os.Getgroups() // without them it goes by the rest
	for _, group := range groups {
		us.Groups = append(us.Groups, uint32(group))
	}
	return us
}

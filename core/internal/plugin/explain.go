package plugin

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// explainExec says why a program could not be started.
func explainExec(path string, err error) error {
	why := ""
	switch {
	case errors.Is(err, syscall.ENOENT):
		if _, statErr := os.Stat(path); statErr == nil {
			why = "its interpreter or dynamic loader is not installed"
		}
	case errors.Is(err, syscall.ENOEXEC):
		why = "it is not a program for this machine" + machine(path)
	case errors.Is(err, syscall.EACCES):
		why = "its file system may be mounted noexec, or this user may not run it"
	case errors.Is(err, syscall.EPERM):
		why = "this program may not hand over the user or capabilities that process asks for"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		why = "too many open files; raise the limit (LimitNOFILE=)"
	}
	if why == "" {
		return fmt.Errorf("cannot start %s: %w", path, err)
	}
	return fmt.Errorf("cannot start %s: %s (%w)", path, why, err)
}

// machine names the architecture that an ELF file was built for, and ours.
func machine(path string) string {
	file, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	return fmt.Sprintf(": built for %s, this is %s", strings.ToLower(strings.TrimPrefix(file.Machine.String(), "EM_")), runtime.GOARCH)
}

// explainHandshake says what is likely wrong with a program that ran but did
// not complete the handshake.
func explainHandshake(first string, exit Exit, ended bool) string {
	all := exit.tail()
	switch {
	case strings.Contains(all, "error while loading shared libraries"), strings.Contains(all, "cannot open shared object"), exit.Code == 127:
		return "a library that it needs is not installed"
	case first != "" && !strings.HasPrefix(first, "1|"):
		return "it is not a plugin of this program, or it writes to its stdout before the handshake (a plugin must leave stdout alone)"
	case first != "":
		return "it is not a plugin of this program, or one built for another version of it"
	case ended && exit.Code == 0:
		return "it is not a plugin of this program"
	case ended:
		return "it failed before the handshake; its own words tell why"
	}
	return "it is not a plugin of this program, or it hangs before the handshake"
}

// quoted returns the newest lines of output for an error's end.
func quoted(out *output) string {
	lines := out.last()
	if trace := out.panicked(); len(trace) > 0 {
		lines = trace[:min(len(trace), keptLines)]
	}
	if len(lines) == 0 {
		return "; it wrote nothing to stderr"
	}
	return "; its stderr ends:\n    " + strings.Join(lines, "\n    ")
}

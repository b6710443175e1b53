package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

const (
	roleNotify   = "notify"
	roleMitigate = "mitigate"

	formatText = "text"
	formatJSON = "json"

	maxConcurrent = 1000
	maxTimeout    = time.Hour
)

// config is the plugin's block.
type config struct {
	Role          string            `hcl:"role" doc:"notify: called in both modes; mitigate: called under enforce only"`
	Command       []string          `hcl:"command" doc:"the program's path and its first arguments; never through a shell"`
	Format        string            `hcl:"format,optional" doc:"standard input: text (unless set) or json"`
	Details       bool              `hcl:"details,optional" doc:"a second call, attack_details, once the attack's packets are there; true unless set"`
	Mitigations   bool              `hcl:"mitigations,optional" doc:"calls, mitigation_held and mitigation_failed, for mitigations that do not go on by themselves; false unless set"`
	Timeout       time.Duration     `hcl:"timeout,optional" doc:"of one call; 30s unless set"`
	MaxConcurrent int               `hcl:"max_concurrent,optional" doc:"calls at the same time; 4 unless set"`
	Environment   map[string]string `hcl:"environment,optional,sensitive" doc:"environment variables for the program"`
}

// Validate checks what the schema cannot. It starts nothing.
func (s *script) Validate(context.Context) error {
	var ds diag.Diagnostics
	fail := func(p diag.Path, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(p, summary, detail, args...))
	}
	root, c := diag.Path{}, s.cfg
	if c.Role != roleNotify && c.Role != roleMitigate {
		fail(root.Attr("role"), "Unknown role",
			`%q is not a role. Write "notify" for a script that tells somebody, "mitigate" for one that acts on the network: it is called in enforce mode only.`, c.Role)
	}
	if c.Format != formatText && c.Format != formatJSON {
		fail(root.Attr("format"), "Unknown format", `%q is not a format. Write "text" or "json".`, c.Format)
	}
	if c.Timeout < time.Second || c.Timeout > maxTimeout {
		fail(root.Attr("timeout"), "Timeout out of range", "%s is not between 1s and 1h.", c.Timeout)
	}
	if c.MaxConcurrent < 1 || c.MaxConcurrent > maxConcurrent {
		fail(root.Attr("max_concurrent"), "Number out of range", "%d is not between 1 and %d.", c.MaxConcurrent, maxConcurrent)
	}
	for name := range c.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "FASTNETMON_") {
			fail(root.Attr("environment").Key(name), "Bad name of a variable",
				"%q cannot be the name of an environment variable here: it is empty, contains = or begins with FASTNETMON_.", name)
		}
	}
	s.validateCommand(fail)
	return ds.Err()
}

func (s *script) validateCommand(fail func(p diag.Path, summary, detail string, args ...any)) {
	path := diag.Path{}.Attr("command")
	if len(s.cfg.Command) == 0 || s.cfg.Command[0] == "" {
		fail(path, "No command", `Name the program and its arguments, one list element each: command = ["/usr/local/bin/notify_about_attack.sh"].`)
		return
	}
	for i, arg := range s.cfg.Command {
		if strings.ContainsRune(arg, 0) {
			fail(path.Index(i), "Bad argument", "An argument cannot contain a NUL byte.")
		}
	}
	path = path.Index(0)
	name := s.cfg.Command[0]
	if !strings.ContainsRune(name, filepath.Separator) {
		fail(path, "Not a path", "%q is looked for nowhere: write the program's whole path. The command does not pass through a shell.", name)
		return
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fail(path, "No such program", "There is no file %s.", name)
	case err != nil:
		fail(path, "Program cannot be run", "%v.", err)
	case !info.Mode().IsRegular():
		fail(path, "Not a program", "%s is not a file.", name)
	case !executable(name):
		fail(path, "Program cannot be run", "%s is not executable by the user the plugin runs as. Try: chmod +x %s", name, name)
	}
}

// executable asks the system, which knows about users, groups and mount
// options. For root, whom access(2) would let run anything with one x bit,
// that is right as well: the kernel does the same at exec.
func executable(name string) bool {
	const x = 1
	return syscall.Access(name, x) == nil
}

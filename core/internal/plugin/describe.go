package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

const (
	describeTimeout = 5 * time.Second
	describeLimit   = 1 << 20 // bytes of output
)

// identify tells whether a plugin is the one that is wanted.
func identify(d *host.Description, kind, name string) error {
	if d.Kind == kind && d.Name == name {
		return nil
	}
	return fmt.Errorf("the program says that it is %s %q, not %s %q; rename the file or install the right one",
		d.Kind, d.Name, kind, name)
}

// Describe runs "<path> describe" and reads what it prints, for at most five
// seconds and one mebibyte. The program sees the same clean environment as a
// launched plugin, and nothing of it is left running.
func Describe(ctx context.Context, path string) (*host.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	text, diagnosis, err := runDescribe(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s describe: %w", path, err)
	}
	about := &host.Description{}
	if err := json.Unmarshal(text, about); err != nil {
		return nil, fmt.Errorf("%s describe: no description but %q: it is not a plugin%s", path, clean(bytes.TrimSpace(text), 80), diagnosis)
	}
	if err := about.Check(); err != nil {
		return nil, fmt.Errorf("%s describe: %w", path, err)
	}
	return about, nil
}

func runDescribe(ctx context.Context, path string) (text []byte, diagnosis string, err error) {
	program, err := openProgram(path, nil)
	if err != nil {
		return nil, "", err
	}
	defer program.close()
	out := newOutput(hclog.NewNullLogger(), newLimiter())
	errs := out.stream()
	var stdout bytes.Buffer
	excess := make(chan struct{})
	env, err := environment(nil, nil)
	if err != nil {
		return nil, "", err
	}
	c, pipes, err := startPiped(childSpec{program: program, args: []string{"describe"}, env: env},
		func(p []byte) bool {
			stdout.Write(p)
			if stdout.Len() > describeLimit {
				close(excess)
				return false
			}
			return true
		},
		func(p []byte) bool { errs.Write(p); return true })
	if err != nil {
		return nil, "", explainExec(path, err)
	}
	select {
	case <-c.done:
	case <-excess:
		c.kill(killLimit)
	case <-ctx.Done():
		err = fmt.Errorf("no answer within %s", describeTimeout)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = ctx.Err()
		}
		c.kill(killLimit)
	}
	pipes.finish()
	errs.end()
	out.end()
	switch {
	case err != nil:
		return nil, "", err
	case stdout.Len() > describeLimit:
		return nil, "", fmt.Errorf("more than %d bytes of output", describeLimit)
	case !c.state.Success():
		return nil, "", fmt.Errorf("it ended with %s%s", c.state, quoted(out))
	}
	return stdout.Bytes(), quoted(out), nil
}

// environment is the whole environment of a plugin: what programs need to
// work, the block's own, then what we and go-plugin tell it. The last one of a
// name wins, so a block cannot change what the contract sets.
func environment(own map[string]string, contract []string) ([]string, error) {
	var env []string
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range own {
		if name == "" || bytes.ContainsAny([]byte(name), "=\x00") || bytes.ContainsRune([]byte(value), 0) {
			return nil, fmt.Errorf("process.env: %q is not a name and value that an environment can hold", name)
		}
		env = append(env, name+"="+value)
	}
	return append(env, contract...), nil
}

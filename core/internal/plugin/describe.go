package plugin

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
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
	ctx, cancel := context.WithTimeoutCause(ctx, describeTimeout, fmt.Errorf("no answer within %s", describeTimeout))
	defer cancel()
	text, diagnosis, err := runDescribe(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s describe: %w", path, err)
	}
	about, err := host.ParseDescription(text)
	if err != nil {
		return nil, fmt.Errorf("%s describe: %w; it printed %q%s", path, err, clean(bytes.TrimSpace(text), 80), diagnosis)
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
	sign := newMark()
	env, err := environment(nil, []string{sign})
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
		errs.take)
	if err != nil {
		return nil, "", explainExec(path, err)
	}
	select {
	case <-c.done:
	case <-excess:
		c.kill(killLimit)
	case <-ctx.Done():
		err = context.Cause(ctx)
		c.kill(killLimit)
	}
	mark.End(sign, guard.Limit)
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

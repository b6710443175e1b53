package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// maxScript is the size that a script may have.
const maxScript = 4 << 20

// script is one content of the script's file.
type script struct {
	name     string // for errors
	text     string
	modified time.Time // when its file was
}

// readScript reads a script as it is now.
func readScript(path string) (*script, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxScript:
		return nil, fmt.Errorf("%s has more than %d MiB", path, maxScript>>20)
	}
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(string(text), "\x1b"):
		return nil, fmt.Errorf("%s is compiled Lua: the source is needed", path)
	}
	return &script{path, string(text), info.ModTime()}, nil
}

// is says whether the scripts are the same content of the same file, which has
// not been touched in between.
func (s *script) is(other *script) bool {
	return other != nil && s.text == other.text && s.modified.Equal(other.modified)
}

// open makes an engine with the script in it. Where ctx can end, the script's
// loading ends with it, at the price of a slower engine: it is for a trial.
func (s *script) open(ctx context.Context, c *config, h *host) (engine, error) {
	if c.Engine == engineGopher || c.Engine == "" && engineName == engineGopher {
		return newGopher(ctx, s, h, uint64(c.Memory))
	}
	return newLuaJIT(ctx, s, h, uint64(c.Memory))
}

// loadTime is how long a script may take to be loaded.
const loadTime = 5 * time.Second

// Why a trial has no other outcome.
var (
	errEndless = errors.New("the script has not come to its end: outside of its functions it may take 5 seconds")
	// What of Lua cannot be interrupted, a search of string.find say, runs on.
	errRunsOn = fmt.Errorf("%w, and it cannot be interrupted", errEndless)
)

// try opens the script once, to find out what is wrong with it. One that has
// not come to its end after limit is interrupted; the error is errRunsOn when
// it goes on all the same, for 5 seconds more.
func (s *script) try(ctx context.Context, c *config, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		e, err := s.open(ctx, c, &host{print: func(string) {}})
		if err == nil {
			e.close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return errEndless
		}
		return err
	case <-time.After(limit + loadTime):
		return errRunsOn
	}
}

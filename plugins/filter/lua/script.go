package main

import (
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
	name string // for errors
	text string
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
	return &script{path, string(text)}, nil
}

// open makes an engine with the script in it.
func (s *script) open(c *config, h *host) (engine, error) {
	if c.Engine == engineGopher || c.Engine == "" && engineName == engineGopher {
		return newGopher(s, h, uint64(c.Memory))
	}
	return newLuaJIT(s, h, uint64(c.Memory))
}

// loadTime is how long a script may take to be loaded.
const loadTime = 5 * time.Second

// try opens the script once, to find out what is wrong with it. One that does
// not come to an end is left running: the process is not worth keeping.
func (s *script) try(c *config) error {
	done := make(chan error, 1)
	go func() {
		e, err := s.open(c, &host{print: func(string) {}})
		if err == nil {
			e.close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(loadTime):
		return errors.New("the script has not come to its end: outside of its functions it may take 5 seconds")
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// sweepArgument makes this program a sweeper.
const sweepArgument = "sweep"

// sweeperPatience is how long a script's start may wait for a sweeper that
// does not listen.
const sweeperPatience = 100 * time.Millisecond

// sweeper is the plugin's end of a second process, which kills what scripts
// have started when the plugin is killed: that hits the plugin alone, and the
// system's parent-death signal no further than the script itself. It is told
// the process groups and the calls' marks, and sees its input end when the plugin
// does. In the moment between a script's start and its group's arrival here the
// script alone dies.
type sweeper struct {
	mu      sync.Mutex
	to      *os.File // nil: there is none any more
	process *os.Process
	done    chan struct{} // closed when the process has ended
}

// startSweeper starts this program as the sweeper.
func startSweeper() (*sweeper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer from.Close()
	cmd := exec.Command(self, sweepArgument)
	cmd.Env = []string{} // not the plugin's credentials
	cmd.Stdin = from
	// What ends the plugin's group, or interrupts a terminal's, must not end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		to.Close()
		return nil, err
	}
	s := &sweeper{to: to, process: cmd.Process, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended tells nothing
		close(s.done)
	}()
	return s, nil
}

// add has a call's process group, and what has left it, killed when the plugin
// dies, remove no longer. Both may be called of nil.
func (s *sweeper) add(group int, mark string) error {
	return s.tell(fmt.Sprintf("+%d %s", group, mark))
}

func (s *sweeper) remove(group int) error { return s.tell(fmt.Sprintf("-%d", group)) }

func (s *sweeper) tell(line string) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return nil
	}
	err := s.to.SetWriteDeadline(time.Now().Add(sweeperPatience))
	if err == nil {
		_, err = fmt.Fprintln(s.to, line)
	}
	if err != nil {
		// It would take the end of its input for ours.
		_ = s.process.Kill()
		s.to.Close()
		s.to = nil
	}
	return err
}

// end ends the sweeper, and with it the groups that it still has.
func (s *sweeper) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return
	}
	s.to.Close()
	s.to = nil
	select {
	case <-s.done:
	case <-time.After(sweeperPatience):
		_ = s.process.Kill() // it is stopped: whoever looks finds no process of ours
	}
}

// sweep is the sweeper: it listens until its input ends, then kills.
func sweep(from io.Reader, kill func(group int, mark string)) {
	groups := map[int]string{} // the marks of the calls
	for lines := bufio.NewScanner(from); lines.Scan(); {
		line := lines.Text()
		if len(line) < 2 {
			continue
		}
		number, mark, _ := strings.Cut(line[1:], " ")
		group, err := strconv.Atoi(number)
		switch {
		case err != nil || group <= 1: // 0 would be ours, -1 everybody
		case line[0] == '+':
			groups[group] = mark
		case line[0] == '-':
			delete(groups, group)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		kill(group, groups[group])
	}
}

// envCall is the variable by which all that a call starts is known, wherever it
// has gone: its process groups and sessions do not tell.
const envCall = "FASTNETMON_CALL"

// killLimit is how long what a call has started may take to die.
const killLimit = time.Second

// killCall kills a process group, 0 for none, and all else that has the call's
// mark; it is no matter if it is gone.
func killCall(group int, sign string) {
	if group > 1 { // 0 would be ours, -1 everybody
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	if sign != "" {
		mark.End(envCall+"="+sign, killLimit)
	}
}

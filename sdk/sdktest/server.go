package sdktest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Server is a program that a test talks to: a database, a broker.
type Server struct {
	t    testing.TB
	name string
	args []string
	env  []string
	up   func() error
	cmd  *exec.Cmd
	done chan struct{}
	out  Output
}

// startTime is how long a server may take until it answers, on a machine that
// does much else.
const startTime = 90 * time.Second

// NewServer finds a program and starts it; up says whether it answers. The test
// is Absent where it is not installed, and the test's end ends it.
func NewServer(t testing.TB, up func() error, env []string, name string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, name: Program(t, name), args: args, env: env, up: up}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Start starts a server that was killed again and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	cmd := exec.Command(s.name, s.args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(s.done)
	end := time.Now().Add(startTime)
	for {
		err := s.up()
		if err == nil {
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("%s ended at once:\n%s", s.name, &s.out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s does not answer: %v\n%s", s.name, err, &s.out)
		}
	}
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Wait waits until the server has ended by itself.
func (s *Server) Wait() { <-s.done }

// Process is the server's process, to stop and continue it.
func (s *Server) Process() *os.Process { return s.cmd.Process }

// FreePort is a TCP port of the loopback interface that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// Answers is an up for NewServer: something listens on a port of the loopback
// interface.
func Answers(port int) func() error {
	return func() error {
		var d net.Dialer
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Until waits for what comes to pass by itself; it fails the test with the last
// reason given if that takes more than a minute and a half.
func Until(t testing.TB, what string, ok func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatal(fmt.Errorf("%s: %w", what, err))
}

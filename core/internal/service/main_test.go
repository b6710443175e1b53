package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

// The test binary is also the program that the tests start: helperEnv says as
// what, fileEnv where it works.
const (
	helperEnv = "SERVICE_TEST_HELPER"
	fileEnv   = "SERVICE_TEST_FILE"
)

func TestMain(m *testing.M) {
	switch helper, file := os.Getenv(helperEnv), os.Getenv(fileEnv); helper {
	case "":
		goleak.VerifyTestMain(m)
	case "hold-pid-file":
		helperHoldPIDFile(file)
	case "crash":
		helperCrash(file)
	default:
		helperDetach(helper, file)
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(7)
	}
}

// helperHoldPIDFile says "held", and waits for SIGTERM.
func helperHoldPIDFile(path string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	p, err := WritePIDFile(path)
	fatal(err)
	fmt.Println("held")
	<-stop
	fatal(p.Remove())
	os.Exit(0)
}

func helperCrash(path string) {
	_, err := NewLogger(Options{Level: hclog.Info, Output: "file:" + path})
	fatal(err)
	panic("the end of the helper")
}

func helperDetach(helper, file string) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	d := InDetached()
	if d == nil {
		code, err := Detach(ctx, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	fmt.Fprintln(os.Stderr, "child is starting")
	switch helper {
	case "ready":
		fatal(d.Ready())
		report(file)
		<-ctx.Done()
		fatal(os.WriteFile(file+".ended", nil, 0o600))
	case "fails":
		os.Exit(5)
	case "ends":
	case "killed":
		fatal(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {}
	case "daemon":
		helperDaemon(ctx, d, file)
	case "hangs":
		fatal(os.WriteFile(file, nil, 0o600))
		<-ctx.Done()
		os.Exit(6)
	}
	os.Exit(0)
}

// helperDaemon is all of this package together, in the order of a daemon.
func helperDaemon(ctx context.Context, d *Detached, dir string) {
	pid, err := WritePIDFile(filepath.Join(dir, "pid"))
	fatal(err)
	log, err := NewLogger(Options{Level: hclog.Info, Detached: true, Syslog: filepath.Join(dir, "log")})
	fatal(err)
	fatal(d.Ready())
	log.Info("running")
	<-ctx.Done()
	log.Info("stopped")
	log.Close()
	fatal(pid.Remove())
}

// report writes what a process in the background can tell of itself.
func report(file string) {
	dir, err := os.Getwd()
	fatal(err)
	_, marked := os.LookupEnv(detachedEnv)
	var stdio [3]string
	for fd := range stdio {
		stdio[fd], _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	fmt.Fprintln(os.Stderr, "said to nobody")
	session, err := syscall.Getpgid(0)
	fatal(err)
	text := fmt.Sprintf("%d %t %s %t %v", os.Getpid(), session == os.Getpid(), dir, marked, stdio)
	temp := filepath.Join(filepath.Dir(file), "report.new")
	fatal(os.WriteFile(temp, []byte(text), 0o600))
	fatal(os.Rename(temp, file))
}

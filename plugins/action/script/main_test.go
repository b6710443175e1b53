package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const envVictim = "TEST_SCRIPT_VICTIM"

// TestMain lets the test program be a plugin in the middle of a call, and its
// sweeper.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == sweepArgument {
		sweep(os.Stdin, killCall)
		return
	}
	if dir := os.Getenv(envVictim); dir != "" {
		s := newScript(config{
			Command: []string{"/bin/sh", "-c", `echo $$ > "$0/leader.pid"; sleep 0.5; setsid sleep 600 & echo $! > "$0/apart.pid"; sleep 600 & echo $! > "$0/child.pid"; wait`, dir},
			Role:    roleNotify, Format: formatText, Timeout: time.Hour, MaxConcurrent: 1,
		}, hclog.NewNullLogger(), "")
		_ = s.Start(context.Background()) // never fails
		_ = s.Notify(context.Background(), attack())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

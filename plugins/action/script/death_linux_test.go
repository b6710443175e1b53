package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const envVictim = "TEST_SCRIPT_VICTIM"

// TestMain lets the test program be a plugin in the middle of a call.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envVictim); dir != "" {
		s := newScript(config{
			Command: []string{"/bin/sh", "-c", `echo $$ > "$0/leader.pid"; exec sleep 600`, dir},
			Role:    roleNotify, Format: formatText, Timeout: time.Hour, MaxConcurrent: 1,
		}, hclog.NewNullLogger())
		_ = s.Notify(context.Background(), attack())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A script does not outlive a plugin that is killed in the middle of a call.
func TestPluginKilled(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugin := exec.Command(self)
	plugin.Env = append(os.Environ(), envVictim+"="+dir)
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	appears(t, filepath.Join(dir, "leader.pid"))
	if err := plugin.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = plugin.Wait() // it was killed
	gone(t, dir, "leader.pid")
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A script, and what it has started, do not outlive a plugin that is killed in
// the middle of a call, were it in a session of their own.
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
	appears(t, filepath.Join(dir, "child.pid"))
	if err := plugin.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = plugin.Wait() // it was killed
	gone(t, dir, "leader.pid")
	gone(t, dir, "child.pid")
	gone(t, dir, "apart.pid")
}

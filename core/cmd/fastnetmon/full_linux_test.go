package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// While the disk is full attacks are found and told of as ever, and what is
// wrong is shown; once there is room again the history has them, and keeps
// them.
func TestAFullDiskLive(t *testing.T) {
	disk, dir, port := sdktest.SmallDisk(t, "4m"), t.TempDir(), freeUDP(t)
	block := fmt.Sprintf("capture \"sflow\" \"in\" {\n  listen = [\"127.0.0.1:%d\"]\n}", port)
	text := strings.Replace(fmt.Sprintf(evidenceConfig, dir, 200, block, "sflow"), dir+"/state", disk, 1)
	config := write(t, "full.hcl", text)
	l := start(t, "run", "--config", config)
	l.waitLog(t, "running: captures")
	attack := func(last int) {
		t.Helper()
		args := []string{"traffic", "--send", "sflow", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--duration", "3s", "--network", "203.0.113.0/24", "--pps", "50"}
		for i := range 10 {
			args = append(args, "--attack", fmt.Sprintf("syn_flood,target=203.0.113.%d,pps=2000", last+i))
		}
		mustRun(t, args...)
		for i := range 10 {
			l.waitLog(t, fmt.Sprintf("target=203.0.113.%d/32", last+i))
		}
	}
	attack(10)
	known := func(n int) error {
		if got := len(past(t, config, "--since", "1h")); got != n {
			return fmt.Errorf("the history has %d attacks, want %d", got, n)
		}
		return nil
	}
	sdktest.Until(t, "history of the first attacks", func() error { return known(10) })
	ballast := filepath.Join(disk, "ballast")
	sdktest.FillDisk(t, ballast)
	attack(100)
	sdktest.Until(t, "trouble with the history", func() error { return troubled(t, config, true) })
	if shown := mustRun(t, "attacks", "--config", config).stdout; !strings.Contains(shown, "203.0.113.100") {
		t.Errorf("attacks in progress:\n%s", shown)
	}
	if log := l.stderr.String(); !strings.Contains(log, "evidence cannot be written") {
		t.Errorf("no word of the evidence in the log:\n%s", log)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	sdktest.Until(t, "end of the trouble", func() error { return troubled(t, config, false) })
	sdktest.Until(t, "history of all attacks", func() error { return known(20) })
	l.stop(t)
	if err := known(20); err != nil {
		t.Error("once the daemon has stopped:", err)
	}
}

// troubled asks status and doctor whether there is no room for the history.
func troubled(t *testing.T, config string, want bool) error {
	t.Helper()
	const said, why = "the attack history has not been written since", "there is no room for it"
	status := mustRun(t, "status", "--config", config).stdout
	doctor := run(t, "doctor", "--config", config).stdout
	if got := strings.Contains(status, said) && strings.Contains(status, why); got != want {
		return fmt.Errorf("status says %t:\n%s", got, status)
	}
	if got := strings.Contains(doctor, why); got != want {
		return fmt.Errorf("doctor says %t:\n%s", got, doctor)
	}
	return nil
}
